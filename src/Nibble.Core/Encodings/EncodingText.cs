using System.Globalization;
using System.Text;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;

namespace Nibble.Core.Encodings;

/// <summary>Writes a description: a kind, then words <c>name=value</c> or, for flags, <c>name</c>.</summary>
internal sealed class EncodingText(string kind)
{
    private readonly StringBuilder _text = new(kind);

    public void Add(string flag) => _text.Append(' ').Append(flag);

    public void Add(string field, string value) => _text.Append(' ').Append(field).Append('=').Append(value);

    public void Add(string field, int value) => Add(field, value.ToString(CultureInfo.InvariantCulture));

    public void Add(string field, float value) => Add(field, value.ToString("R", CultureInfo.InvariantCulture));

    public void Add(string field, BlockFormat format) => Add(field, format.Name);

    public override string ToString() => _text.ToString();
}

/// <summary>Reads a description.</summary>
internal sealed class EncodingFields
{
    private const int MostCharacters = 4096;

    private readonly Dictionary<string, string?> _fields = new(StringComparer.Ordinal);

    /// <exception cref="FormatException">The text is no description.</exception>
    public EncodingFields(string text)
    {
        if (text.Length > MostCharacters) throw new FormatException($"the description has {text.Length} characters; at most {MostCharacters} are possible.");
        string[] words = text.Split(' ');
        Kind = words[0];
        foreach (string word in words.AsSpan(1))
        {
            int equals = word.IndexOf('=', StringComparison.Ordinal);
            string name = equals < 0 ? word : word[..equals];
            if (name.Length == 0) throw new FormatException($"{GgufException.Quote(text)} has an empty word.");
            if (!_fields.TryAdd(name, equals < 0 ? null : word[(equals + 1)..])) throw new FormatException($"{GgufException.Quote(name)} is there twice.");
        }
    }

    /// <summary>The first word.</summary>
    public string Kind { get; }

    public int Integer(string name, int? fallback = null)
    {
        if (fallback is { } value && !_fields.ContainsKey(name)) return value;
        string text = Text(name);
        return int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int number)
            ? number
            : throw new FormatException($"{name} is {GgufException.Quote(text)}; a whole number of 0 to {int.MaxValue} is needed.");
    }

    public float Number(string name)
    {
        string text = Text(name);
        return float.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out float number) && float.IsFinite(number)
            ? number
            : throw new FormatException($"{name} is {GgufException.Quote(text)}; a finite number is needed.");
    }

    public bool Flag(string name)
    {
        if (!_fields.Remove(name, out string? value)) return false;
        return value is null ? true : throw new FormatException($"{name} is {GgufException.Quote(value)}; it is a flag and has no value.");
    }

    public bool Has(string name) => _fields.ContainsKey(name);

    public BlockFormat Format(string name)
    {
        string text = Text(name);
        foreach (BlockFormat format in (ReadOnlySpan<BlockFormat>)[BlockFormats.F32, BlockFormats.F16, BlockFormats.BF16, BlockFormats.I8])
            if (format.Name == text) return format;
        throw new FormatException($"{name} is {GgufException.Quote(text)}; F32, F16, BF16 and I8 are possible.");
    }

    public string Text(string name)
    {
        if (!_fields.Remove(name, out string? value)) throw new FormatException($"{name} is missing.");
        return value ?? throw new FormatException($"{name} has no value.");
    }

    /// <summary>Checks that nothing is left.</summary>
    public void Finish()
    {
        foreach (string name in _fields.Keys)
            throw new FormatException($"{GgufException.Quote(name)} is unknown; the file may be newer than this program.");
    }
}
