using System.Collections.Concurrent;
using Nibble.Core.Compute;
using Nibble.Core.Formats;

namespace Nibble.Core.Encodings;

/// <summary>What the codes of an encoding are.</summary>
public enum CodeUse
{
    /// <summary>Whole numbers.</summary>
    Whole,

    /// <summary>Places in a table.</summary>
    Table,

    /// <summary>Floats.</summary>
    Float,
}

/// <summary>
/// The format that an encoded tensor has beside those of plain ones: a name for reports, the same for all tensors of one <see cref="TensorEncoding.Title"/>, and the bits of its codes. There are no blocks:
/// scales lie elsewhere, so that values come from <see cref="IWeightSource.CopyRow"/> alone and nothing is encoded or decoded here.
/// </summary>
/// <remarks><see cref="BlockFormat.BlockValues"/> and <see cref="BlockFormat.BlockBytes"/> are those of codes that fill whole bytes, without scales.</remarks>
public sealed class EncodedFormat : BlockFormat
{
    private static readonly ConcurrentDictionary<(string Name, int Bits, CodeUse Use, bool HasInputScale), EncodedFormat> s_known = new();

    private EncodedFormat(string name, int bits, CodeUse use, bool hasInputScale)
        : base(name, uint.MaxValue, bits == 3 ? 8 : 8 / bits, bits == 3 ? 3 : 1)
    {
        Use = use;
        HasInputScale = hasInputScale;
    }

    /// <summary>What codes are.</summary>
    public CodeUse Use { get; }

    /// <summary>Whether products round their activations by a stored scale (<see cref="TensorEncoding.HasInputScale"/>).</summary>
    public bool HasInputScale { get; }

    /// <summary>The format of an encoding.</summary>
    /// <param name="encoding">The encoding.</param>
    public static EncodedFormat Of(TensorEncoding encoding)
    {
        ArgumentNullException.ThrowIfNull(encoding);
        CodeUse use = encoding is Float8Encoding ? CodeUse.Float : encoding is TableEncoding ? CodeUse.Table : CodeUse.Whole;
        return s_known.GetOrAdd((encoding.Title.Replace(' ', '_'), encoding.BitsPerCode, use, encoding.HasInputScale), key => new EncodedFormat(key.Name, key.Bits, key.Use, key.HasInputScale));
    }

    /// <inheritdoc/>
    /// <exception cref="NotSupportedException">Always.</exception>
    public override void Decode(ReadOnlySpan<byte> blocks, Span<float> values) => throw NoBlocks();

    /// <inheritdoc/>
    /// <exception cref="NotSupportedException">Always.</exception>
    public override void Encode(ReadOnlySpan<float> values, Span<byte> blocks) => throw NoBlocks();

    /// <inheritdoc/>
    /// <exception cref="NotSupportedException">Always.</exception>
    public override void EncodeRow(ReadOnlySpan<float> row, ReadOnlySpan<float> importance, Span<byte> blocks) => throw NoBlocks();

    /// <inheritdoc/>
    /// <exception cref="NotSupportedException">Always.</exception>
    public override void EncodeBest(ReadOnlySpan<float> row, ReadOnlySpan<float> importance, Span<byte> blocks) => throw NoBlocks();

    /// <inheritdoc/>
    /// <exception cref="NotSupportedException">Always.</exception>
    public override float Dot(ReadOnlySpan<byte> blocks, ReadOnlySpan<float> x) => throw NoBlocks();

    private NotSupportedException NoBlocks() => new($"{Name} is an encoding of several tensors and has no blocks; a weight's rows are decoded by {nameof(IWeightSource)}.{nameof(IWeightSource.CopyRow)}.");
}
