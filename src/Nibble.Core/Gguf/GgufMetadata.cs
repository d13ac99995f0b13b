using System.Collections;
using System.Diagnostics.CodeAnalysis;
using System.Numerics;

namespace Nibble.Core.Gguf;

/// <summary>
/// A file's metadata: entries in the file's order, found by key. <c>Get</c> throws where the key is absent, <c>Find</c> gives null, and the
/// forms with a fallback give that. A present value of another type is never skipped: integers convert to the wanted integer type when they
/// fit, float64 rounds to float32, and anything else is an error that names key, type and wanted type.
/// </summary>
public sealed class GgufMetadata : IReadOnlyList<GgufEntry>
{
    private readonly GgufEntry[] _entries;
    private readonly Dictionary<string, int> _index;
    private readonly string _fileName;
    private readonly long _endOffset;

    /// <param name="entries">Entries whose keys are in <paramref name="index"/>.</param>
    /// <param name="index">The place of each key.</param>
    /// <param name="fileName">For messages.</param>
    /// <param name="endOffset">Where the metadata ends: the offset that a missing key is reported at.</param>
    internal GgufMetadata(GgufEntry[] entries, Dictionary<string, int> index, string fileName, long endOffset)
    {
        _entries = entries;
        _index = index;
        _fileName = fileName;
        _endOffset = endOffset;
    }

    /// <summary>The number of entries.</summary>
    public int Count => _entries.Length;

    /// <summary>An entry by its place in the file.</summary>
    /// <param name="index">0 to <see cref="Count"/> - 1.</param>
    public GgufEntry this[int index] => _entries[index];

    /// <summary>Whether the key is there.</summary>
    public bool Contains(string key) => _index.ContainsKey(key);

    /// <summary>The value of a key.</summary>
    /// <returns>False where the key is absent.</returns>
    public bool TryGetValue(string key, out GgufValue value)
    {
        bool found = _index.TryGetValue(key, out int i);
        value = found ? _entries[i].Value : default;
        return found;
    }

    /// <summary>The type of a key's value.</summary>
    /// <exception cref="GgufException">The key is absent.</exception>
    public GgufValueType TypeOf(string key) => TryGetValue(key, out GgufValue value) ? value.Type : throw Missing(key, "a value");

    /// <summary>Whether the key is there and holds an array.</summary>
    public bool IsArray(string key) => TryGetValue(key, out GgufValue value) && value.Type == GgufValueType.Array;

    /// <summary>A string, or null where the key is absent.</summary>
    /// <exception cref="GgufException">The value is no string.</exception>
    public string? FindString(string key)
    {
        if (!TryGetValue(key, out GgufValue value)) return null;
        return value.Type == GgufValueType.String ? value.StringValue() : throw Mismatch(key, value, "String");
    }

    /// <summary>A string.</summary>
    /// <exception cref="GgufException">The key is absent, or the value is no string.</exception>
    public string GetString(string key) => FindString(key) ?? throw Missing(key, "String");

    /// <summary>A string, or the fallback where the key is absent.</summary>
    /// <exception cref="GgufException">The value is no string.</exception>
    [return: NotNullIfNotNull(nameof(fallback))]
    public string? GetString(string key, string? fallback) => FindString(key) ?? fallback;

    /// <summary>An integer, or null where the key is absent.</summary>
    /// <exception cref="GgufException">The value is no integer or does not fit.</exception>
    public int? FindInt32(string key) => FindInteger<int>(key, "Int32");

    /// <summary>An integer.</summary>
    /// <exception cref="GgufException">The key is absent, or the value is no integer or does not fit.</exception>
    public int GetInt32(string key) => FindInt32(key) ?? throw Missing(key, "Int32");

    /// <summary>An integer, or the fallback where the key is absent.</summary>
    /// <exception cref="GgufException">The value is no integer or does not fit.</exception>
    public int GetInt32(string key, int fallback) => FindInt32(key) ?? fallback;

    /// <summary>An integer, or null where the key is absent.</summary>
    /// <exception cref="GgufException">The value is no integer or does not fit.</exception>
    public uint? FindUInt32(string key) => FindInteger<uint>(key, "UInt32");

    /// <summary>An integer.</summary>
    /// <exception cref="GgufException">The key is absent, or the value is no integer or does not fit.</exception>
    public uint GetUInt32(string key) => FindUInt32(key) ?? throw Missing(key, "UInt32");

    /// <summary>An integer, or the fallback where the key is absent.</summary>
    /// <exception cref="GgufException">The value is no integer or does not fit.</exception>
    public uint GetUInt32(string key, uint fallback) => FindUInt32(key) ?? fallback;

    /// <summary>An integer, or null where the key is absent.</summary>
    /// <exception cref="GgufException">The value is no integer or does not fit.</exception>
    public long? FindInt64(string key) => FindInteger<long>(key, "Int64");

    /// <summary>An integer.</summary>
    /// <exception cref="GgufException">The key is absent, or the value is no integer or does not fit.</exception>
    public long GetInt64(string key) => FindInt64(key) ?? throw Missing(key, "Int64");

    /// <summary>An integer, or the fallback where the key is absent.</summary>
    /// <exception cref="GgufException">The value is no integer or does not fit.</exception>
    public long GetInt64(string key, long fallback) => FindInt64(key) ?? fallback;

    /// <summary>An integer, or null where the key is absent.</summary>
    /// <exception cref="GgufException">The value is no integer or does not fit.</exception>
    public ulong? FindUInt64(string key) => FindInteger<ulong>(key, "UInt64");

    /// <summary>An integer.</summary>
    /// <exception cref="GgufException">The key is absent, or the value is no integer or does not fit.</exception>
    public ulong GetUInt64(string key) => FindUInt64(key) ?? throw Missing(key, "UInt64");

    /// <summary>An integer, or the fallback where the key is absent.</summary>
    /// <exception cref="GgufException">The value is no integer or does not fit.</exception>
    public ulong GetUInt64(string key, ulong fallback) => FindUInt64(key) ?? fallback;

    /// <summary>A float, or null where the key is absent.</summary>
    /// <exception cref="GgufException">The value is no float.</exception>
    public float? FindFloat32(string key)
    {
        if (!TryGetValue(key, out GgufValue value)) return null;
        if (value.Type is not (GgufValueType.Float32 or GgufValueType.Float64)) throw Mismatch(key, value, "Float32");
        float result = 0;
        value.CopyFloats(new Span<float>(ref result));
        return result;
    }

    /// <summary>A float.</summary>
    /// <exception cref="GgufException">The key is absent, or the value is no float.</exception>
    public float GetFloat32(string key) => FindFloat32(key) ?? throw Missing(key, "Float32");

    /// <summary>A float, or the fallback where the key is absent.</summary>
    /// <exception cref="GgufException">The value is no float.</exception>
    public float GetFloat32(string key, float fallback) => FindFloat32(key) ?? fallback;

    /// <summary>A boolean, or null where the key is absent.</summary>
    /// <exception cref="GgufException">The value is no boolean.</exception>
    public bool? FindBoolean(string key)
    {
        if (!TryGetValue(key, out GgufValue value)) return null;
        return value.Type == GgufValueType.Boolean ? value.Bytes(0, 1)[0] != 0 : throw Mismatch(key, value, "Boolean");
    }

    /// <summary>A boolean.</summary>
    /// <exception cref="GgufException">The key is absent, or the value is no boolean.</exception>
    public bool GetBoolean(string key) => FindBoolean(key) ?? throw Missing(key, "Boolean");

    /// <summary>A boolean, or the fallback where the key is absent.</summary>
    /// <exception cref="GgufException">The value is no boolean.</exception>
    public bool GetBoolean(string key, bool fallback) => FindBoolean(key) ?? fallback;

    /// <summary>An array of strings, or null where the key is absent. It is indexed anew by each call: keep it.</summary>
    /// <exception cref="GgufException">The value is no array of strings.</exception>
    public GgufStringArray? FindStrings(string key)
    {
        if (!TryGetValue(key, out GgufValue value)) return null;
        return value.Type == GgufValueType.Array && value.ElementType == GgufValueType.String
            ? new GgufStringArray(value)
            : throw Mismatch(key, value, "an array of String");
    }

    /// <summary>An array of strings. It is indexed anew by each call: keep it.</summary>
    /// <exception cref="GgufException">The key is absent, or the value is no array of strings.</exception>
    public GgufStringArray GetStrings(string key) => FindStrings(key) ?? throw Missing(key, "an array of String");

    /// <summary>A new array of integers, or null where the key is absent.</summary>
    /// <exception cref="GgufException">The value is no array of integers, or one does not fit.</exception>
    public int[]? FindInt32Array(string key) => FindIntegers<int>(key, "Int32");

    /// <summary>A new array of integers.</summary>
    /// <exception cref="GgufException">The key is absent, or the value is no array of integers, or one does not fit.</exception>
    public int[] GetInt32Array(string key) => FindInt32Array(key) ?? throw Missing(key, "an array of Int32");

    /// <summary>A new array of integers, or null where the key is absent.</summary>
    /// <exception cref="GgufException">The value is no array of integers, or one does not fit.</exception>
    public uint[]? FindUInt32Array(string key) => FindIntegers<uint>(key, "UInt32");

    /// <summary>A new array of integers.</summary>
    /// <exception cref="GgufException">The key is absent, or the value is no array of integers, or one does not fit.</exception>
    public uint[] GetUInt32Array(string key) => FindUInt32Array(key) ?? throw Missing(key, "an array of UInt32");

    /// <summary>A new array of integers, or null where the key is absent.</summary>
    /// <exception cref="GgufException">The value is no array of integers, or one does not fit.</exception>
    public long[]? FindInt64Array(string key) => FindIntegers<long>(key, "Int64");

    /// <summary>A new array of integers.</summary>
    /// <exception cref="GgufException">The key is absent, or the value is no array of integers, or one does not fit.</exception>
    public long[] GetInt64Array(string key) => FindInt64Array(key) ?? throw Missing(key, "an array of Int64");

    /// <summary>A new array of floats, or null where the key is absent.</summary>
    /// <exception cref="GgufException">The value is no array of floats.</exception>
    public float[]? FindFloat32Array(string key)
    {
        if (!TryGetValue(key, out GgufValue value)) return null;
        if (value.Type != GgufValueType.Array || value.ElementType is not (GgufValueType.Float32 or GgufValueType.Float64))
            throw Mismatch(key, value, "an array of Float32");
        float[] result = new float[value.Count];
        value.CopyFloats(result);
        return result;
    }

    /// <summary>A new array of floats.</summary>
    /// <exception cref="GgufException">The key is absent, or the value is no array of floats.</exception>
    public float[] GetFloat32Array(string key) => FindFloat32Array(key) ?? throw Missing(key, "an array of Float32");

    /// <summary>A new array of booleans, or null where the key is absent.</summary>
    /// <exception cref="GgufException">The value is no array of booleans.</exception>
    public bool[]? FindBooleanArray(string key)
    {
        if (!TryGetValue(key, out GgufValue value)) return null;
        if (value.Type != GgufValueType.Array || value.ElementType != GgufValueType.Boolean) throw Mismatch(key, value, "an array of Boolean");
        bool[] result = new bool[value.Count];
        value.CopyBooleans(result);
        return result;
    }

    /// <summary>A new array of booleans.</summary>
    /// <exception cref="GgufException">The key is absent, or the value is no array of booleans.</exception>
    public bool[] GetBooleanArray(string key) => FindBooleanArray(key) ?? throw Missing(key, "an array of Boolean");

    /// <summary>An error about a key, for callers that check more than the type: it names the file and stands at the value.</summary>
    /// <param name="key">The key; it may be absent.</param>
    /// <param name="reason">What is wrong: the value and the bound.</param>
    public GgufException Error(string key, string reason) =>
        new(_fileName, TryGetValue(key, out GgufValue value) ? value.FileOffset : _endOffset, $"key {GgufException.Quote(key)}: {reason}");

    /// <inheritdoc/>
    public IEnumerator<GgufEntry> GetEnumerator() => ((IEnumerable<GgufEntry>)_entries).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    private static bool IsInteger(GgufValueType type) => type is <= GgufValueType.Int32 or GgufValueType.UInt64 or GgufValueType.Int64;

    private T? FindInteger<T>(string key, string wanted)
        where T : unmanaged, IBinaryInteger<T>, IMinMaxValue<T>
    {
        if (!TryGetValue(key, out GgufValue value)) return null;
        if (!IsInteger(value.Type)) throw Mismatch(key, value, wanted);
        T result = default;
        if (value.CopyIntegers(new Span<T>(ref result)) >= 0)
            throw Error(key, $"the value is {value.ElementText(0)}; {wanted} holds {T.MinValue} to {T.MaxValue}.");
        return result;
    }

    private T[]? FindIntegers<T>(string key, string wanted)
        where T : unmanaged, IBinaryInteger<T>, IMinMaxValue<T>
    {
        if (!TryGetValue(key, out GgufValue value)) return null;
        if (value.Type != GgufValueType.Array || !IsInteger(value.ElementType)) throw Mismatch(key, value, $"an array of {wanted}");
        T[] result = new T[value.Count];
        int misfit = value.CopyIntegers<T>(result);
        if (misfit >= 0) throw Error(key, $"element {misfit} is {value.ElementText(misfit)}; {wanted} holds {T.MinValue} to {T.MaxValue}.");
        return result;
    }

    private GgufException Missing(string key, string wanted) => Error(key, $"it is missing; {wanted} is needed.");

    private GgufException Mismatch(string key, GgufValue value, string wanted) =>
        Error(key, $"it holds {(value.Type == GgufValueType.Array ? $"an array of {value.ElementType}" : value.Type)}; {wanted} is needed.");
}
