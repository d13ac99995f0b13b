using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Nibble.Core.Formats;

/// <summary>How weights are stored: blocks of a fixed number of values in a fixed number of bytes. One instance per format, listed in <see cref="BlockFormats"/>.</summary>
public abstract class BlockFormat
{
    private protected BlockFormat(string name, uint id, int blockValues, int blockBytes)
    {
        Name = name;
        Id = id;
        BlockValues = blockValues;
        BlockBytes = blockBytes;
    }

    /// <summary>The name that ggml gives the format, for example <c>Q4_K</c>.</summary>
    public string Name { get; }

    /// <summary>The format's <c>ggml_type</c> number in a GGUF file.</summary>
    public uint Id { get; }

    /// <summary>Values in one block.</summary>
    public int BlockValues { get; }

    /// <summary>Bytes of one block.</summary>
    public int BlockBytes { get; }

    /// <summary>Bits that one value takes, scales included.</summary>
    public double BitsPerWeight => 8.0 * BlockBytes / BlockValues;

    /// <summary>Decodes whole blocks to float32, bit for bit as ggml does.</summary>
    /// <param name="blocks">[n] blocks.</param>
    /// <param name="values">[n x <see cref="BlockValues"/>] float32, overwritten.</param>
    /// <exception cref="ArgumentException">The lengths do not fit each other.</exception>
    public abstract void Decode(ReadOnlySpan<byte> blocks, Span<float> values);

    /// <summary>Encodes float32 values into whole blocks, byte for byte as <c>ggml_quantize_chunk</c> of llama.cpp v0.5.0 does without importances.</summary>
    /// <param name="values">[n x <see cref="BlockValues"/>] float32.</param>
    /// <param name="blocks">[n] blocks, overwritten.</param>
    /// <exception cref="ArgumentException">The lengths do not fit each other.</exception>
    public abstract void Encode(ReadOnlySpan<float> values, Span<byte> blocks);

    /// <summary>Encodes a whole row, with importances where there are some, byte for byte as <c>ggml_quantize_chunk</c> of llama.cpp v0.5.0 does.</summary>
    /// <param name="row">[columns] float32, finite.</param>
    /// <param name="importance">[columns] E[x^2] of the activations that meet each column, finite and not negative; or empty.</param>
    /// <param name="blocks">[columns / <see cref="BlockValues"/>] blocks, overwritten.</param>
    /// <exception cref="ArgumentException">The lengths do not fit each other.</exception>
    public abstract void EncodeRow(ReadOnlySpan<float> row, ReadOnlySpan<float> importance, Span<byte> blocks);

    /// <summary>
    /// Encodes a whole row with a longer search: each block is the one of <see cref="EncodeRow"/> or one that leaves less of S(importance * error^2), importance 1 where there is none. Other programs read it as any.
    /// </summary>
    /// <param name="row">[columns] float32, finite.</param>
    /// <param name="importance">[columns] E[x^2] of the activations that meet each column, finite and not negative; or empty.</param>
    /// <param name="blocks">[columns / <see cref="BlockValues"/>] blocks, overwritten.</param>
    /// <exception cref="ArgumentException">The lengths do not fit each other.</exception>
    public abstract void EncodeBest(ReadOnlySpan<float> row, ReadOnlySpan<float> importance, Span<byte> blocks);

    /// <summary>Makes a block of codes and scales that were chosen elsewhere; <see cref="Decode"/> gives (d x scale) x level - dmin x minimum, each product rounded to float32.</summary>
    /// <param name="parts">Codes and scales in the format's ranges.</param>
    /// <param name="block">One block, overwritten.</param>
    /// <exception cref="ArgumentException">There are not as many codes, scales or bytes as a block has.</exception>
    /// <exception cref="NotSupportedException">The format has no such parts.</exception>
    public virtual void Pack(in BlockParts parts, Span<byte> block) => throw new NotSupportedException($"{Name} is not packed from codes and whole scales.");

    /// <summary>The readable float dot: decodes and sums in order. Every fast dot is compared with it.</summary>
    /// <param name="blocks">[n] blocks.</param>
    /// <param name="x">[n x <see cref="BlockValues"/>] float32.</param>
    /// <returns>The sum of weight times x, accumulated in float32 from first to last.</returns>
    /// <exception cref="ArgumentException">The lengths do not fit each other.</exception>
    public abstract float Dot(ReadOnlySpan<byte> blocks, ReadOnlySpan<float> x);

    /// <summary>Bytes that a row takes.</summary>
    /// <param name="columns">Values in the row; a multiple of <see cref="BlockValues"/>.</param>
    /// <exception cref="ArgumentException"><paramref name="columns"/> is negative or no multiple of the block.</exception>
    public long RowBytes(long columns)
    {
        if (columns < 0 || columns % BlockValues != 0)
            throw new ArgumentException($"columns is {columns}; {Name} needs a multiple of {BlockValues}.", nameof(columns));
        return checked(columns / BlockValues * BlockBytes);
    }

    /// <inheritdoc/>
    public override string ToString() => Name;

    private protected void CheckLengths(int byteCount, int valueCount)
    {
        if (byteCount % BlockBytes != 0 || (long)(byteCount / BlockBytes) * BlockValues != valueCount)
            throw new ArgumentException($"{byteCount} bytes and {valueCount} values do not fit each other; {Name} holds {BlockValues} values in {BlockBytes} bytes.");
    }
}

/// <summary>The format of a block struct.</summary>
internal sealed class BlockFormat<TBlock>(string name, uint id) : BlockFormat(name, id, TBlock.Values, Unsafe.SizeOf<TBlock>())
    where TBlock : unmanaged, IBlock<TBlock>
{
    // What a dot decodes at a time; a multiple of every block's values.
    private const int DotValues = 256;

    public override void Decode(ReadOnlySpan<byte> blocks, Span<float> values)
    {
        CheckLengths(blocks.Length, values.Length);
        TBlock.DecodeRow(MemoryMarshal.Cast<byte, TBlock>(blocks), values);
    }

    public override void Encode(ReadOnlySpan<float> values, Span<byte> blocks)
    {
        CheckLengths(blocks.Length, values.Length);
        TBlock.EncodeRow(values, MemoryMarshal.Cast<byte, TBlock>(blocks));
    }

    public override void EncodeRow(ReadOnlySpan<float> row, ReadOnlySpan<float> importance, Span<byte> blocks)
    {
        CheckLengths(blocks.Length, row.Length);
        if (importance.IsEmpty)
        {
            TBlock.EncodeRow(row, MemoryMarshal.Cast<byte, TBlock>(blocks));
            return;
        }

        if (importance.Length != row.Length)
            throw new ArgumentException($"There are {importance.Length} importances for {row.Length} columns; each column needs one.", nameof(importance));
        TBlock.EncodeWeighted(row, importance, MemoryMarshal.Cast<byte, TBlock>(blocks));
    }

    public override void EncodeBest(ReadOnlySpan<float> row, ReadOnlySpan<float> importance, Span<byte> blocks)
    {
        EncodeRow(row, importance, blocks);
        Span<TBlock> typed = MemoryMarshal.Cast<byte, TBlock>(blocks);
        Span<float> weights = stackalloc float[TBlock.Values], decoded = stackalloc float[TBlock.Values];
        weights.Fill(1);
        for (int b = 0; b < typed.Length; b++)
        {
            ReadOnlySpan<float> values = row.Slice(b * TBlock.Values, TBlock.Values);
            if (!importance.IsEmpty) importance.Slice(b * TBlock.Values, TBlock.Values).CopyTo(weights);
            if (!TBlock.TrySearch(values, weights, out TBlock found)) return;
            TBlock.Decode(in typed[b], decoded);
            double usual = Error(values, weights, decoded);
            TBlock.Decode(in found, decoded);
            if (Error(values, weights, decoded) < usual) typed[b] = found;
        }
    }

    public override void Pack(in BlockParts parts, Span<byte> block)
    {
        CheckLengths(block.Length, parts.Codes.Length);
        if (block.Length != BlockBytes)
            throw new ArgumentException($"{block.Length} bytes were given for one block; {Name} takes {BlockBytes}.", nameof(block));
        if (!TBlock.TryPack(parts, out TBlock packed))
            throw new NotSupportedException($"{Name} is not packed from codes and whole scales.");
        MemoryMarshal.Cast<byte, TBlock>(block)[0] = packed;
    }

    public override float Dot(ReadOnlySpan<byte> blocks, ReadOnlySpan<float> x)
    {
        CheckLengths(blocks.Length, x.Length);
        ReadOnlySpan<TBlock> typed = MemoryMarshal.Cast<byte, TBlock>(blocks);
        Span<float> buffer = stackalloc float[DotValues];
        float sum = 0;
        for (int start = 0; start < x.Length; start += DotValues)
        {
            Span<float> values = buffer[..Math.Min(DotValues, x.Length - start)];
            TBlock.DecodeRow(typed.Slice(start / TBlock.Values, values.Length / TBlock.Values), values);
            for (int i = 0; i < values.Length; i++)
                sum += values[i] * x[start + i];
        }

        return sum;
    }

    private static double Error(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, ReadOnlySpan<float> decoded)
    {
        double error = 0;
        for (int i = 0; i < values.Length; i++)
        {
            double miss = (double)values[i] - decoded[i];
            error += weights[i] * miss * miss;
        }

        return error;
    }
}
