using System.Collections.Immutable;
using Nibble.Core.Formats;

namespace Nibble.Quantize.Quantization;

/// <summary>A type of file as <c>llama-quantize</c> names them: most weights are of one format, and <see cref="MixRules"/> gives some tensors another.</summary>
/// <param name="Name">The name, for example <c>Q4_K_M</c>.</param>
/// <param name="Number">What <c>general.file_type</c> is (<c>llama_ftype</c> of llama.h, llama.cpp v0.5.0).</param>
/// <param name="Format">The format of most weights.</param>
public sealed record FileType(string Name, uint Number, BlockFormat Format)
{
    /// <summary>Every type, from few bits to many.</summary>
    public static ImmutableArray<FileType> All { get; } =
    [
        new("TQ1_0", 36, BlockFormats.TQ1_0),
        new("TQ2_0", 37, BlockFormats.TQ2_0),
        new("Q2_K_S", 21, BlockFormats.Q2_K),
        new("Q2_K", 10, BlockFormats.Q2_K),
        new("Q3_K_S", 11, BlockFormats.Q3_K),
        new("Q3_K_M", 12, BlockFormats.Q3_K),
        new("Q3_K_L", 13, BlockFormats.Q3_K),
        new("IQ4_XS", 30, BlockFormats.IQ4_XS),
        new("MXFP4", 38, BlockFormats.MXFP4),
        new("MXFP4_MOE", 38, BlockFormats.MXFP4),
        new("IQ4_NL", 25, BlockFormats.IQ4_NL),
        new("NVFP4", 39, BlockFormats.NVFP4),
        new("Q4_0", 2, BlockFormats.Q4_0),
        new("Q4_K_S", 14, BlockFormats.Q4_K),
        new("Q4_K_M", 15, BlockFormats.Q4_K),
        new("Q4_1", 3, BlockFormats.Q4_1),
        new("Q5_0", 8, BlockFormats.Q5_0),
        new("Q5_K_S", 16, BlockFormats.Q5_K),
        new("Q5_K_M", 17, BlockFormats.Q5_K),
        new("Q5_1", 9, BlockFormats.Q5_1),
        new("Q6_K", 18, BlockFormats.Q6_K),
        new("Q8_0", 7, BlockFormats.Q8_0),
        new("F16", 1, BlockFormats.F16),
        new("BF16", 32, BlockFormats.BF16),
        new("F32", 0, BlockFormats.F32),
    ];

    // Names of formats that llama-quantize takes for a mix.
    private static readonly (string Alias, string Name)[] s_aliases = [("Q3_K", "Q3_K_M"), ("Q4_K", "Q4_K_M"), ("Q5_K", "Q5_K_M")];

    /// <summary>The type of this name in any case, or null. Q3_K, Q4_K and Q5_K stand for their mixes M, as in llama-quantize.</summary>
    public static FileType? Find(string name)
    {
        foreach ((string alias, string meant) in s_aliases)
            if (string.Equals(alias, name, StringComparison.OrdinalIgnoreCase)) return Find(meant);
        foreach (FileType type in All)
            if (string.Equals(type.Name, name, StringComparison.OrdinalIgnoreCase)) return type;
        return null;
    }

    /// <inheritdoc/>
    public override string ToString() => Name;
}
