using System.Text;
using Nibble.Core.Gguf;

namespace Nibble.Llm.Tokenizers;

/// <summary>A list of byte strings in two arrays: the pieces of a vocabulary, or its merges.</summary>
public sealed class PieceTable
{
    private readonly byte[] _bytes;
    private readonly int[] _starts; // offset of each piece, one more at the end

    private PieceTable(byte[] bytes, int[] starts)
    {
        _bytes = bytes;
        _starts = starts;
        for (int i = 0; i < Count; i++) LongestBytes = Math.Max(LongestBytes, starts[i + 1] - starts[i]);
    }

    /// <summary>The number of pieces.</summary>
    public int Count => _starts.Length - 1;

    /// <summary>The length of the longest piece in bytes.</summary>
    public int LongestBytes { get; }

    /// <summary>A piece; it need not be valid UTF-8.</summary>
    /// <param name="index">0 to <see cref="Count"/> - 1.</param>
    public ReadOnlySpan<byte> this[int index] => _bytes.AsSpan(_starts[index], _starts[index + 1] - _starts[index]);

    /// <summary>A piece as text; invalid bytes become U+FFFD. Each call makes a new string.</summary>
    /// <param name="index">0 to <see cref="Count"/> - 1.</param>
    public string Text(int index) => Encoding.UTF8.GetString(this[index]);

    /// <summary>A table of strings.</summary>
    public static PieceTable From(IEnumerable<string> pieces)
    {
        Builder builder = new();
        foreach (string piece in pieces) builder.Add(Encoding.UTF8.GetBytes(piece));
        return builder.Build();
    }

    /// <summary>A copy of a file's strings.</summary>
    public static PieceTable From(GgufStringArray pieces)
    {
        Builder builder = new(pieces.Count);
        for (int i = 0; i < pieces.Count; i++) builder.Add(pieces.Utf8(i));
        return builder.Build();
    }

    /// <summary>Collects pieces.</summary>
    /// <param name="capacity">The number of pieces expected.</param>
    internal sealed class Builder(int capacity = 0)
    {
        private readonly List<byte> _bytes = new(capacity * 8);
        private readonly List<int> _starts = new(capacity + 1) { 0 };

        /// <summary>Adds a piece.</summary>
        public void Add(ReadOnlySpan<byte> piece)
        {
            _bytes.AddRange(piece);
            _starts.Add(_bytes.Count);
        }

        /// <summary>The table.</summary>
        public PieceTable Build() => new([.. _bytes], [.. _starts]);
    }
}
