using Nibble.Core.Compute;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;
using Nibble.Quantize.Methods;

namespace Nibble.Quantize.Quantization;

/// <summary>What becomes of one tensor.</summary>
/// <param name="Source">The tensor.</param>
/// <param name="Target">What it is in the new file.</param>
/// <param name="Method">How its values are rounded; it does not count for a tensor that stays as it is.</param>
public sealed record PlannedTensor(IWeightSource Source, TensorTarget Target, RoundingMethod Method)
{
    /// <summary>What it would be if its rows fitted; else the same.</summary>
    public TensorTarget Wanted { get; init; } = Target;

    /// <summary>Whether its rows are no multiple of the block of the format that the type asks for.</summary>
    public bool IsFallback => Target != Wanted;

    /// <summary>Whether its bytes are those of the input.</summary>
    public bool IsKept => Target is BlockTarget blocks && blocks.Format == Source.Format;

    /// <summary>Whether values are rounded that were rounded before: codes of a quantized tensor that become other ones.</summary>
    public bool IsRoundedAgain => !IsKept && Format != BlockFormats.F32 && (Source.Format.BlockValues > 1 || !Source.IsStored);

    /// <summary>Whether it is rounded by what is seen behind the last layer: the output matrix, by a method that looks at activations.</summary>
    public bool IsBehindLayers => !IsKept && Method.Needs is not null && TensorNames.Role(Source.Name) == TensorRole.Output;

    /// <summary>The block format in the new file; null for an encoding.</summary>
    public BlockFormat? Format => (Target as BlockTarget)?.Format;

    /// <summary>Columns, ascending, that are stored apart since activations are large there; null where nobody looked for them.</summary>
    public IReadOnlyList<int>? Outliers { get; init; }

    /// <summary>Whether <see cref="OutlierSearch"/> has to look for <see cref="Outliers"/> before the tensor can be made.</summary>
    public bool SeeksOutliers => Outliers is null && Target is Int8Target { Threshold: not null };

    /// <summary>Bytes in the new file, with the <see cref="Outliers"/> that are known.</summary>
    public long ByteLength => Outliers is { Count: > 0 } ? WithOutliers(((EncodingTarget)Target).Shape(Source)).ByteLength : Target.ByteLength(Source);

    /// <summary>How many values it holds.</summary>
    public long ValueCount => Source.Columns * Source.RowCount;

    /// <summary>The description that the new file has of it; null where it becomes blocks.</summary>
    public TensorEncoding? Describe() => Target is EncodingTarget target ? WithOutliers(target.Describe(Source)) : null;

    private TensorEncoding WithOutliers(TensorEncoding encoding) => encoding with { Outliers = Outliers?.Count ?? 0 };
}
