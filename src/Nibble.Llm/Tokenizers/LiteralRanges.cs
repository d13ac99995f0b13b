namespace Nibble.Llm.Tokenizers;

/// <summary>Which bytes of a prompt the template wrote. Neighbouring literal segments are one range.</summary>
internal sealed class LiteralRanges
{
    private readonly List<int> _starts = [];
    private readonly List<int> _ends = [];

    /// <summary>Appends a range behind the earlier ones.</summary>
    public void Add(int startBytes, int endBytes)
    {
        if (startBytes == endBytes) return;
        if (_ends.Count > 0 && _ends[^1] == startBytes)
        {
            _ends[^1] = endBytes;
            return;
        }

        _starts.Add(startBytes);
        _ends.Add(endBytes);
    }

    /// <summary>Where the literal range that holds a byte ends; -1 where none holds it.</summary>
    public int EndAt(int offsetBytes)
    {
        int index = _starts.BinarySearch(offsetBytes);
        if (index < 0) index = ~index - 1;
        return index >= 0 && offsetBytes < _ends[index] ? _ends[index] : -1;
    }
}
