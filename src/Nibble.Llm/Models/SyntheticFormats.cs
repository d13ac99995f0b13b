using System.Globalization;
using Nibble.Core.Compute;
using Nibble.Core.Formats;

namespace Nibble.Llm.Models;

/// <summary>The formats of a <see cref="SyntheticModel"/>: vectors are float32, and so are the matrices that llama-quantize leaves alone, such as those that choose experts.</summary>
/// <param name="Weights">Matrices.</param>
/// <param name="Embedding">The table of embeddings.</param>
/// <param name="Output">The output matrix.</param>
public sealed record SyntheticFormats(BlockFormat Weights, BlockFormat Embedding, BlockFormat Output)
{
    // Source: llama-quant.cpp, llama.cpp v0.5.0.
    private static readonly string[] Kept = ["_norm.", "ffn_gate_inp", "per_layer_model_proj", "position_embd", "ssm_conv1d", "shortconv.conv"];

    /// <summary>The format of a tensor.</summary>
    /// <param name="tensor">The tensor.</param>
    public BlockFormat Of(SyntheticTensor tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        if (tensor.Use == Operation.Vector || tensor.Dimensions.Length < 2 || !tensor.Name.EndsWith(".weight", StringComparison.Ordinal)) return BlockFormats.F32;
        if (Array.Exists(Kept, part => tensor.Name.Contains(part, StringComparison.Ordinal))) return BlockFormats.F32;
        return tensor.Name switch
        {
            "token_embd.weight" => Embedding,
            "output.weight" => Output,
            _ => Weights,
        };
    }

    /// <summary>Checks that a tensor's rows are whole blocks of its format.</summary>
    /// <param name="tensor">The tensor.</param>
    /// <exception cref="ArgumentException">They are not.</exception>
    public void Check(SyntheticTensor tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        BlockFormat format = Of(tensor);
        int columns = tensor.Columns, block = format.BlockValues;
        if (columns % block == 0) return;
        int below = columns / block * block;
        string nearest = below == 0 ? (below + block).ToString(CultureInfo.InvariantCulture) : $"{below} or {below + block}";
        string fitting = string.Join(", ", BlockFormats.All.Where(other => columns % other.BlockValues == 0).Select(other => other.Name));
        throw new ArgumentException(
            $"tensor '{tensor.Name}' has rows of {columns} values; {format} needs a multiple of {block}, such as {nearest}. Change the width, or use a format that divides {columns}: {fitting}.");
    }

    /// <summary>The number of <c>general.file_type</c> for a format of most tensors (<c>llama_ftype</c>, llama.cpp v0.5.0): for K-quants that of the small mix, which has one format throughout.</summary>
    /// <param name="weights">The format.</param>
    internal static uint FileType(BlockFormat weights) => weights.Name switch
    {
        nameof(F32) => 0,
        nameof(F16) => 1,
        nameof(Q4_0) => 2,
        nameof(Q4_1) => 3,
        nameof(Q8_0) => 7,
        nameof(Q5_0) => 8,
        nameof(Q5_1) => 9,
        nameof(Q2_K) => 10,
        nameof(Q3_K) => 11,
        nameof(Q4_K) => 14,
        nameof(Q5_K) => 16,
        nameof(Q6_K) => 18,
        nameof(IQ4_NL) => 25,
        nameof(IQ4_XS) => 30,
        nameof(BF16) => 32,
        nameof(TQ1_0) => 36,
        nameof(TQ2_0) => 37,
        nameof(MXFP4) => 38,
        nameof(NVFP4) => 39,
        _ => throw new NotSupportedException($"{weights} has no file type."),
    };
}
