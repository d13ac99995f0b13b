using System.Text;
using Nibble.Llm.Tokenizers;

namespace Nibble.Llm.Templates;

/// <summary>Immutable text that knows of each UTF-16 code unit whether the template's author wrote it (literal) or it came from input.</summary>
internal sealed class MarkedText
{
    public static readonly MarkedText Empty = new("", true, []);

    private readonly bool _firstIsLiteral;

    /// <summary>Ascending positions inside the text at which the mark flips.</summary>
    private readonly int[] _flips;

    internal MarkedText(string text, bool firstIsLiteral, int[] flips)
    {
        Text = text;
        _firstIsLiteral = firstIsLiteral;
        _flips = flips;
    }

    public string Text { get; }

    public static MarkedText Of(string text, bool isLiteral) => text.Length == 0 ? Empty : new(text, isLiteral, []);

    public bool IsLiteralAt(int position)
    {
        if (_flips.Length == 0) return _firstIsLiteral;
        int index = Array.BinarySearch(_flips, position);
        int flipsBefore = index >= 0 ? index + 1 : ~index;
        return (flipsBefore & 1) == 0 ? _firstIsLiteral : !_firstIsLiteral;
    }

    /// <summary>The end of the run of equal marks that holds <paramref name="position"/>.</summary>
    public int RunEnd(int position)
    {
        if (_flips.Length == 0) return Text.Length;
        int index = Array.BinarySearch(_flips, position);
        int next = index >= 0 ? index + 1 : ~index;
        return next < _flips.Length ? _flips[next] : Text.Length;
    }

    public MarkedText Slice(int start, int length)
    {
        if (length == 0) return Empty;
        if (length == Text.Length) return this;
        if (RunEnd(start) >= start + length) return new(Text.Substring(start, length), IsLiteralAt(start), []);
        MarkedTextBuilder builder = new();
        builder.Append(this, start, length);
        return builder.ToText();
    }

    public IReadOnlyList<TextSegment> ToSegments()
    {
        List<TextSegment> segments = [];
        for (int start = 0; start < Text.Length;)
        {
            int end = RunEnd(start);
            segments.Add(new(Text[start..end], IsLiteralAt(start)));
            start = end;
        }
        return segments;
    }
}

/// <summary>Builds a <see cref="MarkedText"/> by appending.</summary>
internal sealed class MarkedTextBuilder
{
    private readonly StringBuilder _text = new();
    private readonly List<int> _flips = [];
    private bool _firstIsLiteral;
    private bool _lastIsLiteral;

    public int Length => _text.Length;

    public void Append(ReadOnlySpan<char> text, bool isLiteral)
    {
        if (text.IsEmpty) return;
        Mark(isLiteral);
        _text.Append(text);
    }

    public void Append(char c, bool isLiteral)
    {
        Mark(isLiteral);
        _text.Append(c);
    }

    public void Append(char c, int count, bool isLiteral)
    {
        if (count <= 0) return;
        Mark(isLiteral);
        _text.Append(c, count);
    }

    public void Append(MarkedText text) => Append(text, 0, text.Text.Length);

    public void Append(MarkedText text, int start, int length)
    {
        int end = start + length;
        while (start < end)
        {
            int runEnd = Math.Min(text.RunEnd(start), end);
            Append(text.Text.AsSpan(start, runEnd - start), text.IsLiteralAt(start));
            start = runEnd;
        }
    }

    public MarkedText ToText() => Length == 0 ? MarkedText.Empty : new(_text.ToString(), _firstIsLiteral, _flips.ToArray());

    private void Mark(bool isLiteral)
    {
        if (_text.Length == 0) _firstIsLiteral = isLiteral;
        else if (isLiteral != _lastIsLiteral) _flips.Add(_text.Length);
        _lastIsLiteral = isLiteral;
    }
}
