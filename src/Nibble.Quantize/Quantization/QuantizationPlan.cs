using System.Collections.Immutable;
using System.Text.RegularExpressions;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;

namespace Nibble.Quantize.Quantization;

/// <summary>What becomes of one tensor.</summary>
/// <param name="Source">The tensor.</param>
/// <param name="Format">Its format in the new file.</param>
/// <param name="Wanted">The format that it would have if its rows fitted; else the same.</param>
public sealed record PlannedTensor(IWeightSource Source, BlockFormat Format, BlockFormat Wanted)
{
    /// <summary>Whether its rows are no multiple of the block of the format that the type asks for.</summary>
    public bool IsFallback => Format != Wanted;

    /// <summary>Whether values are rounded that were rounded before: codes of a quantized tensor that become other ones.</summary>
    public bool IsRoundedAgain => Format != Source.Format && Format != BlockFormats.F32 && (Source.Format.BlockValues > 1 || !Source.IsStored);

    /// <summary>Bytes in the new file.</summary>
    public long ByteLength => Format.RowBytes(Source.Columns) * Source.RowCount;

    /// <summary>How many values it holds.</summary>
    public long ValueCount => Source.Columns * Source.RowCount;
}

/// <summary>The format of every tensor of a new file.</summary>
public sealed class QuantizationPlan
{
    // Below 256 values a block there is a format of nearly the same bits with blocks of 32.
    private static readonly Dictionary<BlockFormat, BlockFormat> s_fallbacks = new()
    {
        [BlockFormats.IQ4_XS] = BlockFormats.IQ4_NL,
        [BlockFormats.Q2_K] = BlockFormats.Q4_0,
        [BlockFormats.Q3_K] = BlockFormats.Q4_0,
        [BlockFormats.TQ1_0] = BlockFormats.Q4_0,
        [BlockFormats.TQ2_0] = BlockFormats.Q4_0,
        [BlockFormats.Q4_K] = BlockFormats.Q5_0,
        [BlockFormats.Q5_K] = BlockFormats.Q5_1,
        [BlockFormats.Q6_K] = BlockFormats.Q8_0,
        [BlockFormats.NVFP4] = BlockFormats.MXFP4,
    };

    private QuantizationPlan(FileType type, ImmutableArray<PlannedTensor> tensors)
    {
        Type = type;
        Tensors = tensors;
    }

    /// <summary>The type that was asked for.</summary>
    public FileType Type { get; }

    /// <summary>Every tensor in the order of the new file, which is llama-quantize's: those outside layers, then layer by layer, by name.</summary>
    public ImmutableArray<PlannedTensor> Tensors { get; }

    /// <summary>Bytes of all tensors in the new file.</summary>
    public long ByteLength => Tensors.Sum(tensor => tensor.ByteLength);

    /// <summary>Values of all tensors.</summary>
    public long ValueCount => Tensors.Sum(tensor => tensor.ValueCount);

    /// <summary>Bits that a value takes on average.</summary>
    public double BitsPerWeight => 8.0 * ByteLength / ValueCount;

    /// <summary>Chooses formats by llama-quantize's rules (llama.cpp v0.5.0).</summary>
    /// <param name="file">The model.</param>
    /// <param name="type">The type.</param>
    /// <param name="isPure">Whether every tensor gets the type's format, with no mix.</param>
    /// <param name="hasImportance">Whether there is an importance matrix, which some mixes ask.</param>
    /// <param name="overrides">Formats of tensors whose name a pattern is found in; the first that is found counts.</param>
    /// <exception cref="QuantizationException">An override names no tensor that is quantized, or a layer cannot be told.</exception>
    /// <exception cref="GgufException">A key of the metadata has another type than it ought to have.</exception>
    public static QuantizationPlan Create(GgufFile file, FileType type, bool isPure, bool hasImportance, IReadOnlyList<(Regex Pattern, BlockFormat Format)> overrides)
    {
        ArgumentNullException.ThrowIfNull(file);
        ArgumentNullException.ThrowIfNull(type);
        ArgumentNullException.ThrowIfNull(overrides);
        MixRules rules = new(file, type, hasImportance);
        bool isMix = !isPure && type.Format.BlockValues > 1;
        bool[] isUsed = new bool[overrides.Count];
        List<PlannedTensor> planned = [];
        foreach (IWeightSource tensor in file.Weights.All.OrderBy(tensor => tensor.Name, Comparer<string>.Create(TensorNames.Compare)))
        {
            if (!TensorNames.IsQuantizable(tensor.Name, tensor.Matrices > 1 ? 3 : tensor.Rows > 1 ? 2 : 1))
            {
                // An encoding has no place among formats; float32 holds all its values.
                BlockFormat kept = tensor.IsStored ? tensor.Format : BlockFormats.F32;
                planned.Add(new PlannedTensor(tensor, kept, kept));
                continue;
            }

            int match = Match(overrides, tensor.Name);
            if (match >= 0) isUsed[match] = true;
            BlockFormat wanted = match >= 0 ? overrides[match].Format : isMix ? rules.Next(tensor) : type.Format;
            planned.Add(new PlannedTensor(tensor, Fitting(tensor, wanted), wanted));
        }

        int unused = Array.IndexOf(isUsed, false);
        if (unused >= 0)
            throw new QuantizationException($"'{overrides[unused].Pattern}' is found in the name of no tensor that is quantized (or an earlier pattern is found in each); 'nibble inspect --tensors' lists them. Norms, routers and vectors stay as they are.");
        return new QuantizationPlan(type, [.. planned]);
    }

    /// <summary>Takes what formats there are as given: tensor by tensor, in the order of the new file.</summary>
    /// <param name="type">What <c>general.file_type</c> will say.</param>
    /// <param name="tensors">The tensors, whose rows fit their formats.</param>
    public static QuantizationPlan Of(FileType type, IEnumerable<PlannedTensor> tensors) => new(type, [.. tensors.OrderBy(tensor => tensor.Source.Name, Comparer<string>.Create(TensorNames.Compare))]);

    private static int Match(IReadOnlyList<(Regex Pattern, BlockFormat Format)> overrides, string name)
    {
        for (int i = 0; i < overrides.Count; i++)
            if (overrides[i].Pattern.IsMatch(name)) return i;
        return -1;
    }

    private static BlockFormat Fitting(IWeightSource tensor, BlockFormat wanted)
    {
        BlockFormat format = wanted;
        if (tensor.Columns % format.BlockValues != 0) format = s_fallbacks.GetValueOrDefault(format, BlockFormats.F16);
        return tensor.Columns % format.BlockValues == 0 ? format : BlockFormats.F16;
    }
}
