using Nibble.Core.Formats;

namespace Nibble.Core.Gguf;

/// <summary>The names of ggml's tensor types, including those that cannot be run, so that a refusal can name them (ggml.h of llama.cpp v0.5.0).</summary>
public static class GgmlTypes
{
    private static readonly string[] s_names =
    [
        "F32", "F16", "Q4_0", "Q4_1", "Q4_2", "Q4_3", "Q5_0", "Q5_1", "Q8_0", "Q8_1",
        "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S",
        "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS", "I8", "I16", "I32", "I64", "F64", "IQ1_M",
        "BF16", "Q4_0_4_4", "Q4_0_4_8", "Q4_0_8_8", "TQ1_0", "TQ2_0", "IQ4_NL_4_4", "IQ4_NL_4_8", "IQ4_NL_8_8", "MXFP4",
        "NVFP4", "Q1_0", "Q2_0",
    ];

    /// <summary>The name of a type, or null where ggml has no type of that number.</summary>
    /// <param name="id">The <c>ggml_type</c> number.</param>
    public static string? Name(uint id) => id < s_names.Length ? s_names[id] : null;

    /// <summary>Whether ggml once had the type and removed it from files.</summary>
    /// <param name="id">The <c>ggml_type</c> number.</param>
    public static bool IsRetired(uint id) => id is 4 or 5 or (>= 31 and <= 33) or (>= 36 and <= 38);

    /// <summary>Why a type without a <see cref="BlockFormat"/> is refused.</summary>
    internal static string Refusal(uint id)
    {
        if (Name(id) is not { } name) return $"its type is {id}, which is unknown; the known types are 0 to {s_names.Length - 1}";
        if (!IsRetired(id)) return $"its type is {name} ({id}), which cannot be run; these can: {string.Join(", ", BlockFormats.All.Select(format => format.Name))}";
        string instead = name.StartsWith("IQ4_NL", StringComparison.Ordinal) ? "IQ4_NL" : "Q4_0";
        return $"its type is {name} ({id}), which ggml has removed; make the file again, for example as {instead}";
    }
}
