namespace Nibble.Llm.Generation;

/// <summary>Finds stop strings in a stream of text, and holds back what may become one.</summary>
/// <remarks>After the first calls nothing is allocated: the buffer is reused and grows only for a longer piece than any before.</remarks>
public sealed class StopMatcher
{
    private readonly string[] _stops;
    private char[] _buffer = new char[256];
    private int _released;
    private int _length;

    /// <summary>A matcher.</summary>
    /// <param name="stops">The strings; none may be empty.</param>
    /// <exception cref="ArgumentException">A string is empty.</exception>
    public StopMatcher(IReadOnlyList<string> stops)
    {
        ArgumentNullException.ThrowIfNull(stops);
        _stops = [.. stops];
        foreach (string stop in _stops)
            if (string.IsNullOrEmpty(stop)) throw new ArgumentException("a stop string is empty; it would end every answer at once.", nameof(stops));
    }

    /// <summary>Whether a stop string came. Nothing is released after it.</summary>
    public bool IsHit { get; private set; }

    /// <summary>What may be shown since the last call; valid until the next.</summary>
    public ReadOnlySpan<char> Released => _buffer.AsSpan(0, _released);

    /// <summary>Takes text; afterwards <see cref="Released"/> is what may be shown.</summary>
    /// <param name="text">The next piece.</param>
    public void Append(ReadOnlySpan<char> text)
    {
        DropReleased();
        if (IsHit) return;
        if (_buffer.Length < _length + text.Length) Array.Resize(ref _buffer, Math.Max(_buffer.Length * 2, _length + text.Length));
        text.CopyTo(_buffer.AsSpan(_length));
        _length += text.Length;
        ReadOnlySpan<char> all = _buffer.AsSpan(0, _length);
        int hit = -1;
        foreach (string stop in _stops)
        {
            int index = all.IndexOf(stop, StringComparison.Ordinal);
            if (index >= 0 && (hit < 0 || index < hit)) hit = index;
        }

        IsHit = hit >= 0;
        _released = IsHit ? hit : _length - HeldBack(all);
    }

    /// <summary>Takes the last piece of the text: afterwards <see cref="Released"/> is all that was held back, up to a stop string.</summary>
    /// <param name="text">The last piece; may be empty.</param>
    public void Finish(ReadOnlySpan<char> text)
    {
        Append(text);
        if (!IsHit) _released = _length;
    }

    private void DropReleased()
    {
        _buffer.AsSpan(_released, _length - _released).CopyTo(_buffer);
        _length -= _released;
        _released = 0;
    }

    private int HeldBack(ReadOnlySpan<char> text)
    {
        int longest = 0;
        foreach (string stop in _stops)
        {
            for (int length = Math.Min(stop.Length - 1, text.Length); length > longest; length--)
            {
                if (!text.EndsWith(stop.AsSpan(0, length), StringComparison.Ordinal)) continue;
                longest = length;
                break;
            }
        }

        return longest;
    }
}
