namespace Nibble.Core.Formats;

/// <summary>A block of a block format: a struct whose size and field order are the layout in the file.</summary>
/// <typeparam name="TSelf">The struct itself; its size in bytes is the block's size.</typeparam>
public interface IBlock<TSelf>
    where TSelf : unmanaged, IBlock<TSelf>
{
    /// <summary>How many weights one block holds.</summary>
    static abstract int Values { get; }

    /// <summary>Decodes one block: the readable truth of the format, equal to ggml's decoder bit for bit.</summary>
    /// <param name="block">The block.</param>
    /// <param name="values">[<see cref="Values"/>] float32, overwritten.</param>
    static abstract void Decode(in TSelf block, Span<float> values);
}

/// <summary>A block that can also be made from floats.</summary>
/// <typeparam name="TSelf">The struct itself.</typeparam>
public interface IEncodableBlock<TSelf> : IBlock<TSelf>
    where TSelf : unmanaged, IEncodableBlock<TSelf>
{
    /// <summary>Encodes one block, byte for byte as ggml's reference encoder does.</summary>
    /// <param name="values">[<see cref="IBlock{TSelf}.Values"/>] float32.</param>
    /// <param name="block">The block, overwritten.</param>
    static abstract void Encode(ReadOnlySpan<float> values, out TSelf block);
}
