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

    /// <summary>Decodes whole blocks with the same results as <see cref="Decode"/>. A format overrides it where a row can go faster than block by block.</summary>
    /// <param name="blocks">[n] blocks; any address.</param>
    /// <param name="values">[n x <see cref="Values"/>] float32, overwritten.</param>
    static virtual void DecodeRow(ReadOnlySpan<TSelf> blocks, Span<float> values)
    {
        for (int b = 0; b < blocks.Length; b++)
            TSelf.Decode(in blocks[b], values.Slice(b * TSelf.Values, TSelf.Values));
    }

    /// <summary>Encodes one block, byte for byte as <c>ggml_quantize_chunk</c> does without importances.</summary>
    /// <param name="values">[<see cref="Values"/>] float32.</param>
    /// <param name="block">The block, overwritten.</param>
    static abstract void Encode(ReadOnlySpan<float> values, out TSelf block);

    /// <summary>Encodes whole blocks with the same results as <see cref="Encode"/>. A format overrides it where a row can go faster than block by block.</summary>
    /// <param name="values">[n x <see cref="Values"/>] float32.</param>
    /// <param name="blocks">[n] blocks, overwritten; any address.</param>
    static virtual void EncodeRow(ReadOnlySpan<float> values, Span<TSelf> blocks)
    {
        for (int b = 0; b < blocks.Length; b++)
            TSelf.Encode(values.Slice(b * TSelf.Values, TSelf.Values), out blocks[b]);
    }

    /// <summary>Encodes a whole row with importances, byte for byte as <c>ggml_quantize_chunk</c> does. A format that makes no use of them encodes as without.</summary>
    /// <param name="row">[n x <see cref="Values"/>] float32: the whole row, since some formats weigh errors by its mean square.</param>
    /// <param name="importance">[n x <see cref="Values"/>] E[x^2] of the row's columns, none negative.</param>
    /// <param name="blocks">[n] blocks, overwritten; any address.</param>
    static virtual void EncodeWeighted(ReadOnlySpan<float> row, ReadOnlySpan<float> importance, Span<TSelf> blocks) => TSelf.EncodeRow(row, blocks);

    /// <summary>Looks longer for a block of small weighted squared error than ggml's encoder does.</summary>
    /// <param name="values">[<see cref="Values"/>] float32, finite.</param>
    /// <param name="weights">[<see cref="Values"/>] what an error counts, none negative.</param>
    /// <param name="block">What was found; it need not be better.</param>
    /// <returns>False where the format has nothing to look for.</returns>
    static virtual bool TrySearch(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, out TSelf block)
    {
        block = default;
        return false;
    }

    /// <summary>Makes a block of codes and scales that were chosen elsewhere; they are in the format's ranges.</summary>
    /// <param name="parts">Codes and scales.</param>
    /// <param name="block">The block.</param>
    /// <returns>False where the format has no such parts.</returns>
    static virtual bool TryPack(in BlockParts parts, out TSelf block)
    {
        block = default;
        return false;
    }
}
