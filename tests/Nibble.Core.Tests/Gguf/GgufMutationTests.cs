using System.Diagnostics;
using System.Globalization;
using System.Text;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;

namespace Nibble.Core.Tests.Gguf;

/// <summary>Damaged files load or give the documented exception: soon, in bounded memory, and what loads can be read and written again.</summary>
public class GgufMutationTests(ITestOutputHelper output) : GgufTestBase
{
    private const long FixedAllocation = 16 << 20;

    private int _loaded;
    private int _refused;
    private TimeSpan _slowest;

    [Fact]
    public void Mutated_files_load_or_are_refused_within_a_second_and_16_MiB_plus_8_times_the_metadata()
    {
        const int Seed = 300;
        GgufMutator mutator = new(Seed);
        (byte[] Bytes, List<(int Offset, int Bytes)> Fields)[] originals = [Model(3), Vocabulary(5000)];
        for (int i = 0; i < 300; i++)
        {
            (byte[] bytes, List<(int Offset, int Bytes)> fields) = originals[i % originals.Length];
            Check(mutator.Mutate(bytes, fields), $"seed {Seed}, file {i}");
        }

        Assert.True(_slowest < TimeSpan.FromSeconds(1), $"The slowest file took {_slowest}.");
        Report(Seed);
    }

    [Fact]
    public void Ten_thousand_fuzzed_files_load_or_are_refused()
    {
        // A fixed seed for a repeatable run; NIBBLE_FUZZ_SEED and NIBBLE_FUZZ_FILES change and lengthen it.
        int seed = Setting("NIBBLE_FUZZ_SEED", 20250117), files = Setting("NIBBLE_FUZZ_FILES", 10_000);
        output.WriteLine($"seed {seed}, {files} files");
        GgufMutator mutator = new(seed);
        (byte[] Bytes, List<(int Offset, int Bytes)> Fields)[] originals = [Model(2), Model(3), Vocabulary(20), Scalars()];
        for (int i = 0; i < files; i++)
        {
            (byte[] bytes, List<(int Offset, int Bytes)> fields) = originals[i % originals.Length];
            Check(mutator.Mutate(bytes, fields), $"seed {seed}, file {i}");
        }

        Report(seed);
        Assert.Equal(files, _loaded + _refused);
        Assert.True(_loaded > files / 100 && _refused > files / 4, $"{_loaded} loaded and {_refused} refused: the mutations no longer reach both outcomes.");
    }

    [Fact]
    public void File_of_the_smallest_entries_stays_within_the_allocation_bound()
    {
        const int Entries = 400_000;
        GgufBuilder builder = new();
        // Keys of three printable bytes or fewer, values of one byte: nothing has more entries per byte of metadata.
        for (int i = 0; i < Entries; i++) builder.Entry(ShortName(i), 0, [1]);
        byte[] bytes = builder.Build();
        Assert.Equal(Entries, Bounded(bytes, bytes.Length).Metadata);
    }

    [Fact]
    public void File_of_the_smallest_tensors_stays_within_the_allocation_bound()
    {
        const int Tensors = 300_000;
        GgufBuilder builder = new();
        for (int i = 0; i < Tensors; i++) builder.Tensor(ShortName(i), [0]);
        byte[] bytes = builder.Build();
        Assert.Equal(Tensors, Bounded(bytes, bytes.Length).Tensors);
    }

    [Fact]
    public void File_of_the_smallest_strings_stays_within_the_allocation_bound()
    {
        const int Strings = 3_000_000;
        byte[] bytes = new GgufBuilder().Array("texts", 8, Strings, new byte[Strings * 8]).Build();
        Assert.Equal(1, Bounded(bytes, bytes.Length).Metadata);
    }

    [Fact]
    public void Counts_above_the_limits_are_refused_where_the_bytes_would_allow_them()
    {
        const long Enough = 100 << 20;
        RefusedAtLength(new GgufBuilder { TensorCount = GgufLimits.MaxTensors + 1 }, Enough, "tensor count is 1048577", "at most 1048576");
        RefusedAtLength(new GgufBuilder { EntryCount = GgufLimits.MaxEntries + 1 }, Enough, "metadata count is 1048577", "at most 1048576");
        RefusedAtLength(new GgufBuilder().Array("many", 0, GgufLimits.MaxArrayElements + 1, []), Enough, "key 'many'", "element count is 67108865", "at most 67108864");
    }

    private static int Setting(string name, int fallback) =>
        Environment.GetEnvironmentVariable(name) is { Length: > 0 } text ? int.Parse(text, CultureInfo.InvariantCulture) : fallback;

    /// <summary>A name of one to three characters, a different one for each index.</summary>
    private static string ShortName(int index)
    {
        StringBuilder name = new();
        for (int rest = index + 1; rest > 0; rest /= 95) name.Append((char)(32 + rest % 95));
        return name.ToString();
    }

    /// <summary>A small model: metadata of a llama and a tensor of every format.</summary>
    private static (byte[] Bytes, List<(int Offset, int Bytes)> Fields) Model(uint version)
    {
        GgufBuilder builder = new GgufBuilder { Version = version, Alignment = 16 }
            .Text("general.architecture", "llama"u8).UInt32("general.alignment", 16).UInt32("llama.block_count", 2).Float32("llama.rope.freq_base", 10000)
            .UInt16("split.count", 1).Array("llama.attention.head_count_kv", 5, 2, [4, 0, 0, 0, 4, 0, 0, 0]).Texts("tokens", ["<s>"u8.ToArray(), "a"u8.ToArray(), []]);
        List<byte> data = [];
        foreach (BlockFormat format in BlockFormats.All)
        {
            builder.Tensor($"blk.0.{format.Name}.weight", [format.BlockValues, 2], format.Id, (ulong)data.Count);
            data.AddRange(Sequence(format.BlockBytes * 2));
            while (data.Count % 16 != 0) data.Add(0);
        }

        builder.Data = [.. data];
        return (builder.Build(), builder.Fields);
    }

    /// <summary>A vocabulary without tensors.</summary>
    private static (byte[] Bytes, List<(int Offset, int Bytes)> Fields) Vocabulary(int tokens)
    {
        GgufBuilder builder = new GgufBuilder().Text("tokenizer.ggml.model", "gpt2"u8)
            .Texts("tokenizer.ggml.tokens", [.. Enumerable.Range(0, tokens).Select(i => Encoding.UTF8.GetBytes($"tok{i}"))])
            .Array("tokenizer.ggml.scores", 6, (ulong)tokens, new byte[tokens * 4]).Array("tokenizer.ggml.token_type", 5, (ulong)tokens, new byte[tokens * 4])
            .Texts("tokenizer.ggml.merges", [.. Enumerable.Range(0, tokens).Select(i => Encoding.UTF8.GetBytes($"t {i}"))]);
        byte[] bytes = builder.Build();
        return (bytes, builder.Fields);
    }

    /// <summary>Every scalar type and an array of each.</summary>
    private static (byte[] Bytes, List<(int Offset, int Bytes)> Fields) Scalars()
    {
        GgufBuilder builder = new();
        int[] sizes = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8];
        for (uint type = 0; type < sizes.Length; type++)
            if (sizes[type] > 0) builder.Entry($"scalar.{type}", type, Sequence(sizes[type])).Array($"array.{type}", type, 3, Sequence(3 * sizes[type]));
        byte[] bytes = builder.Tensor("t", [8, 2, 2, 2]).Build();
        return ([.. bytes, .. Sequence(256)], builder.Fields);
    }

    private void Report(int seed) => output.WriteLine($"seed {seed}: {_loaded} loaded, {_refused} refused, the slowest in {_slowest.TotalMilliseconds:F1} ms");

    private void Check(byte[] bytes, string which)
    {
        string path = Folder.Write(FileName, bytes);
        long start = Stopwatch.GetTimestamp(), before = GC.GetAllocatedBytesForCurrentThread();
        try
        {
            using GgufFile file = GgufFile.Open(path);
            Measure(start, before, bytes.Length, which);
            _loaded++;
            ReadEverything(file);
            byte[] written = Rewritten(file);
            Assert.True(bytes.Length >= written.Length && SameExceptPadding(bytes, written, file), $"{which}: written bytes differ");
        }
        catch (GgufException exception)
        {
            Measure(start, before, bytes.Length, which);
            _refused++;
            Assert.InRange(exception.Offset, 0, bytes.Length);
            Assert.NotEmpty(exception.Reason);
            Assert.Equal(FileName, exception.FileName);
        }
        catch (FileNotFoundException exception) when (exception.Message.Contains("-of-", StringComparison.Ordinal))
        {
            _refused++; // split.count was damaged and the other parts are not there
        }
    }

    private void Measure(long start, long before, long fileBytes, string which)
    {
        TimeSpan elapsed = Stopwatch.GetElapsedTime(start);
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        if (elapsed > _slowest) _slowest = elapsed;
        Assert.True(allocated <= FixedAllocation + 8 * fileBytes, $"{which}: {allocated} bytes allocated for a file of {fileBytes}");
    }

    private (int Metadata, int Tensors) Bounded(byte[] bytes, long metadataBytes)
    {
        string path = Folder.Write(FileName, bytes);
        long before = GC.GetAllocatedBytesForCurrentThread();
        using GgufFile file = GgufFile.Open(path);
        _ = file.Metadata.FindStrings("texts");
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        output.WriteLine($"{allocated} bytes allocated for {metadataBytes} bytes of metadata");
        Assert.InRange(allocated, 1, FixedAllocation + 8 * metadataBytes);
        return (file.Metadata.Count, file.Tensors.Count);
    }

    private static void ReadEverything(GgufFile file)
    {
        foreach (GgufEntry entry in file.Metadata)
        {
            Assert.NotNull(entry.Value.ToString());
            if (entry.Value.Type == GgufValueType.Array && entry.Value.ElementType == GgufValueType.String)
                foreach (string text in file.Metadata.GetStrings(entry.Key)) Assert.NotNull(text);
            Attempt(() => file.Metadata.GetUInt32(entry.Key));
            Attempt(() => file.Metadata.GetFloat32(entry.Key));
            Attempt(() => file.Metadata.GetString(entry.Key));
            Attempt(() => file.Metadata.GetInt32Array(entry.Key));
            Attempt(() => file.Metadata.GetFloat32Array(entry.Key));
            Attempt(() => file.Metadata.GetBooleanArray(entry.Key));
        }

        foreach (GgufTensor tensor in file.Tensors)
        {
            long bytes = 0;
            for (long row = 0; row < Math.Min(tensor.RowCount, 1000); row++) bytes += tensor.Row(row).Length;
            Assert.True(bytes <= tensor.ByteLength);
        }
    }

    private static void Attempt(Action read)
    {
        try
        {
            read();
        }
        catch (GgufException)
        {
            // The key has another type: said so.
        }
    }

    /// <summary>Whether the file's bytes came back, save those between and after its tensors.</summary>
    private static bool SameExceptPadding(byte[] bytes, byte[] written, GgufFile file)
    {
        long descriptionEnd = file.Tensors.Count > 0 ? file.Tensors.Min(tensor => tensor.FileOffset) - file.Alignment + 1 : written.Length - file.Alignment + 1;
        int compared = (int)Math.Clamp(descriptionEnd, 24, written.Length);
        if (!bytes.AsSpan(0, compared).SequenceEqual(written.AsSpan(0, compared))) return false;
        foreach (GgufTensor tensor in file.Tensors)
            if (!bytes.AsSpan((int)tensor.FileOffset, (int)tensor.ByteLength).SequenceEqual(written.AsSpan((int)tensor.FileOffset, (int)tensor.ByteLength))) return false;
        return true;
    }
}
