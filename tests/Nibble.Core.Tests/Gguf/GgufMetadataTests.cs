using FsCheck;
using FsCheck.Fluent;
using Nibble.Core.Gguf;

namespace Nibble.Core.Tests.Gguf;

public class GgufMetadataTests : GgufTestBase
{
    private const string Key = "key";

    [Fact]
    public void Every_type_reads_back_as_it_was_set()
    {
        using GgufFile file = Reopen(new GgufWriter()
            .Set("u8", (byte)255).Set("i8", (sbyte)-128).Set("u16", (ushort)65535).Set("i16", (short)-32768).Set("u32", uint.MaxValue).Set("i32", int.MinValue)
            .Set("u64", ulong.MaxValue).Set("i64", long.MinValue).Set("f32", 1.5f).Set("f64", 0.1).Set("yes", true).Set("no", false).Set("text", "åäö 🙂").Set("empty", "")
            .Set("numbers", GgufValue.Array([1, -2, 3])).Set("texts", GgufValue.Array(["a", "", "ü"])).Set("flags", GgufValue.Array([true, false, true])));
        GgufMetadata metadata = file.Metadata;
        Assert.Equal(255u, metadata.GetUInt32("u8"));
        Assert.Equal(-128, metadata.GetInt32("i8"));
        Assert.Equal(65535, metadata.GetInt32("u16"));
        Assert.Equal(-32768L, metadata.GetInt64("i16"));
        Assert.Equal(uint.MaxValue, metadata.GetUInt64("u32"));
        Assert.Equal(int.MinValue, metadata.GetInt64("i32"));
        Assert.Equal(ulong.MaxValue, metadata.GetUInt64("u64"));
        Assert.Equal(long.MinValue, metadata.GetInt64("i64"));
        Assert.Equal(1.5f, metadata.GetFloat32("f32"));
        Assert.Equal(0.1f, metadata.GetFloat32("f64"));
        Assert.True(metadata.GetBoolean("yes"));
        Assert.False(metadata.GetBoolean("no"));
        Assert.Equal("åäö 🙂", metadata.GetString("text"));
        Assert.Equal("", metadata.GetString("empty"));
        Assert.Equal([1, -2, 3], metadata.GetInt32Array("numbers"));
        Assert.Equal(["a", "", "ü"], metadata.GetStrings("texts"));
        Assert.Equal([true, false, true], metadata.GetBooleanArray("flags"));
        Assert.Equal(GgufValueType.UInt8, metadata.TypeOf("u8"));
        Assert.True(metadata.IsArray("numbers"));
        Assert.False(metadata.IsArray("u8"));
        Assert.Equal(["u8", "i8", "u16"], metadata.Take(3).Select(entry => entry.Key));
    }

    [Fact]
    public void Integer_that_does_not_fit_is_an_error_with_key_value_and_range()
    {
        using GgufFile file = Reopen(new GgufWriter().Set("negative", -1).Set("large", 1L << 40).Set("huge", ulong.MaxValue).Set("list", GgufValue.Array([5L, 1L << 31])));
        Assert.Contains("key 'negative': the value is -1; UInt32 holds 0 to 4294967295", Assert.Throws<GgufException>(() => file.Metadata.GetUInt32("negative")).Message, StringComparison.Ordinal);
        Assert.Throws<GgufException>(() => file.Metadata.GetUInt64("negative"));
        Assert.Contains("1099511627776", Assert.Throws<GgufException>(() => file.Metadata.GetInt32("large", 7)).Message, StringComparison.Ordinal);
        Assert.Contains("18446744073709551615", Assert.Throws<GgufException>(() => file.Metadata.GetInt64("huge")).Message, StringComparison.Ordinal);
        Assert.Contains("element 1 is 2147483648; Int32 holds", Assert.Throws<GgufException>(() => file.Metadata.GetInt32Array("list")).Message, StringComparison.Ordinal);
        Assert.Equal([5u, 1u << 31], file.Metadata.GetUInt32Array("list"));
    }

    [Fact]
    public void Value_of_another_type_is_an_error_even_with_a_fallback()
    {
        using GgufFile file = Reopen(new GgufWriter().Set("text", "x").Set("number", 1).Set("float", 1f).Set("list", GgufValue.Array([1f])));
        GgufMetadata metadata = file.Metadata;
        GgufException exception = Assert.Throws<GgufException>(() => metadata.GetUInt32("text", 5));
        Assert.Equal("key 'text': it holds String; UInt32 is needed.", exception.Reason);
        Assert.Equal(24 + 8 + 4 + 4, exception.Offset);
        Assert.Throws<GgufException>(() => metadata.GetString("number", "x"));
        Assert.Throws<GgufException>(() => metadata.GetFloat32("number", 1));
        Assert.Throws<GgufException>(() => metadata.GetInt32("float", 1));
        Assert.Throws<GgufException>(() => metadata.GetBoolean("number", true));
        Assert.Contains("it holds an array of Float32; an array of Int32 is needed", Assert.Throws<GgufException>(() => metadata.FindInt32Array("list")).Reason, StringComparison.Ordinal);
        Assert.Throws<GgufException>(() => metadata.FindStrings("list"));
        Assert.Throws<GgufException>(() => metadata.FindFloat32Array("float"));
        Assert.Throws<GgufException>(() => metadata.FindBooleanArray("list"));
        Assert.Throws<GgufException>(() => metadata.FindFloat32("list"));
    }

    [Fact]
    public void Absent_key_is_null_a_fallback_or_an_error_that_names_it()
    {
        using GgufFile file = Reopen(new GgufWriter());
        GgufMetadata metadata = file.Metadata;
        Assert.Null(metadata.FindString(Key));
        Assert.Null(metadata.FindUInt32(Key));
        Assert.Null(metadata.FindFloat32(Key));
        Assert.Null(metadata.FindBoolean(Key));
        Assert.Null(metadata.FindStrings(Key));
        Assert.Null(metadata.FindFloat32Array(Key));
        Assert.Equal("f", metadata.GetString(Key, "f"));
        Assert.Equal(7u, metadata.GetUInt32(Key, 7));
        Assert.Equal(7L, metadata.GetInt64(Key, 7));
        Assert.True(metadata.GetBoolean(Key, true));
        Assert.Equal("key 'key': it is missing; Float32 is needed.", Assert.Throws<GgufException>(() => metadata.GetFloat32(Key)).Reason);
        Assert.Throws<GgufException>(() => metadata.GetStrings(Key));
        Assert.Throws<GgufException>(() => metadata.TypeOf(Key));
    }

    [Fact]
    public void Invalid_utf8_in_values_survives_reading_and_writing()
    {
        byte[] bad = [0xFF, 0x20, 0xC3, 0, 0xED, 0xA0, 0x80];
        byte[] bytes = new GgufBuilder().Text("text", bad).Texts("texts", [bad, [], "ok"u8.ToArray()]).Build();
        using GgufFile file = Open(bytes);
        Assert.Equal(bad, file.Metadata.GetStrings("texts").Utf8(0));
        Assert.StartsWith("\uFFFD \uFFFD\0", file.Metadata.GetString("text"), StringComparison.Ordinal);
        Assert.Equal("ok", file.Metadata.GetStrings("texts")[2]);
        Assert.Equal(bytes, Rewritten(file));
        Assert.Equal(file.Metadata[0].Value, GgufValue.Utf8(bad));
    }

    [Fact]
    public void Every_byte_but_0_is_true_and_keeps_its_value_when_written()
    {
        byte[] bytes = new GgufBuilder().Entry("flag", 7, [2]).Array("flags", 7, 3, [0, 1, 255]).Build();
        using GgufFile file = Open(bytes);
        Assert.True(file.Metadata.GetBoolean("flag"));
        Assert.Equal([false, true, true], file.Metadata.GetBooleanArray("flags"));
        Assert.Equal(bytes, Rewritten(file));
    }

    [Fact]
    public void Strings_outside_the_array_are_refused()
    {
        using GgufFile file = Reopen(new GgufWriter().Set("texts", GgufValue.Array(["a"])).Set("none", GgufValue.Array(Array.Empty<string>())));
        GgufStringArray texts = file.Metadata.GetStrings("texts");
        Assert.Throws<ArgumentOutOfRangeException>(() => texts[1]);
        Assert.Throws<ArgumentOutOfRangeException>(() => texts.Utf8(-1).Length);
        Assert.Empty(file.Metadata.GetStrings("none"));
    }

    [Fact]
    public void Values_are_shown_in_short()
    {
        Assert.Equal("18446744073709551615", GgufValue.Array([ulong.MaxValue]).ToString().Trim('[', ']'));
        Assert.Equal("-1", ((GgufValue)(-1)).ToString());
        Assert.Equal("1.5", ((GgufValue)1.5f).ToString());
        Assert.Equal("true", ((GgufValue)true).ToString());
        Assert.Equal("[\"a\", \"b\"]", GgufValue.Array(["a", "b"]).ToString());
        Assert.Equal("[0, 1, 2, 3, 4, 5, 6, 7, ... 20 in all]", GgufValue.Array(Enumerable.Range(0, 20).ToArray()).ToString());
    }

    [Fact]
    public void Arbitrary_metadata_is_equal_after_writing_and_reading()
    {
        const ulong Seed = 20250117;
        Gen<string> text = ArbMap.Default.GeneratorFor<UnicodeString>().Select(value => value.Get).Where(IsWellFormed);
        Gen<GgufValue> value = Gen.OneOf(
            Numbers<byte>(v => v, v => GgufValue.Array(v)), Numbers<sbyte>(v => v, v => GgufValue.Array(v)),
            Numbers<ushort>(v => v, v => GgufValue.Array(v)), Numbers<short>(v => v, v => GgufValue.Array(v)),
            Numbers<uint>(v => v, v => GgufValue.Array(v)), Numbers<int>(v => v, v => GgufValue.Array(v)),
            Numbers<ulong>(v => v, v => GgufValue.Array(v)), Numbers<long>(v => v, v => GgufValue.Array(v)),
            Numbers<float>(v => v, v => GgufValue.Array(v)), Numbers<double>(v => v, v => GgufValue.Array(v)),
            Numbers<bool>(v => v, v => GgufValue.Array(v)),
            text.Select(v => (GgufValue)v), text.ArrayOf().Select(v => GgufValue.Array(v)));
        Gen<GgufEntry[]> metadata = text.Where(key => key.Length is > 0 and < 1000 && key != "general.alignment")
            .SelectMany(key => value.Select(v => new GgufEntry(key, v))).ArrayOf().Select(entries => entries.DistinctBy(entry => entry.Key).ToArray());

        Property property = Prop.ForAll(metadata.ToArbitrary(), entries =>
        {
            GgufWriter writer = new(2);
            foreach (GgufEntry entry in entries) writer.Set(entry.Key, entry.Value);
            using GgufFile file = Reopen(writer);
            return file.Version == 2 && file.Metadata.SequenceEqual(entries) && Written(writer).AsSpan().SequenceEqual(Rewritten(file));
        });
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(300).WithReplay(Seed, 1), property);
    }

    private static Gen<GgufValue> Numbers<T>(Func<T, GgufValue> scalar, Func<T[], GgufValue> array) =>
        Gen.OneOf(ArbMap.Default.GeneratorFor<T>().Select(scalar), ArbMap.Default.GeneratorFor<T>().ArrayOf().Select(array));

    private static bool IsWellFormed(string text)
    {
        for (int i = 0; i < text.Length; i++)
        {
            if (!char.IsSurrogate(text[i])) continue;
            if (!char.IsHighSurrogate(text[i]) || i + 1 == text.Length || !char.IsLowSurrogate(text[++i])) return false;
        }

        return true;
    }
}
