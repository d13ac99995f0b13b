using System.Collections.Immutable;
using Nibble.Quantize.Calibration;
using Nibble.Quantize.Methods;
using Nibble.Quantize.Quantization;

namespace Nibble.Methods;

/// <summary>A line of the table.</summary>
/// <param name="Title">The method.</param>
/// <param name="Options">The plan.</param>
internal sealed record MethodLine(string Title, PlanOptions Options)
{
    private static readonly string[] s_blocks = ["Q6_K", "Q5_K", "Q4_K", "IQ4_XS", "Q4_0", "Q3_K", "Q2_K"];

    private static readonly int[] s_groups = [128, 64, 32];

    /// <summary>Every line.</summary>
    public static ImmutableArray<MethodLine> All { get; } =
    [
        Of("nearest", "rtn", "int8:row"), Of("nearest", "rtn", "int8:tensor"), Of("nearest", "rtn", "llm.int8"), Of("nearest", "rtn", "llm.int8:t6"), Of("SmoothQuant", "rtn", "int8:row", "smooth"), Of("SmoothQuant", "rtn", "int8:tensor", "smooth"),
        .. RangeEstimator.All.SelectMany(range => new[] { Of("nearest", "rtn", $"int8:row:static-{range.Name}"), Of("SmoothQuant", "rtn", $"int8:row:static-{range.Name}", "smooth") }),
        .. Groups("nearest", "rtn", "int4"), .. Groups("nearest", "rtn", "int4", ":asym"), .. Groups("nearest", "rtn", "int3", ":asym"),
        Of("nearest", "rtn", "nf4"), Of("nearest", "rtn", "nf4:double"), Of("nearest", "rtn", "fp4"),
        .. Groups("HQQ", "hqq", "int4", ":float"), .. Groups("AWQ", "awq", "int4"), .. Groups("AWQ", "awq", "int4", ":asym"),
        Of("GPTQ", "gptq", "int4:g128"), Of("GPTQ", "gptq", "int4:g128:asym"),
        .. Groups("GPTQ, act-order", "gptq:act-order", "int4"), .. Groups("GPTQ, act-order", "gptq:act-order", "int4", ":asym"), Of("GPTQ, act-order", "gptq:act-order", "int3:g128"),
        Of("GPTQ, act-order, refined", "gptq:act-order:refine=4", "int4:g128:asym"), Of("GPTQ, act-order, refined", "gptq:act-order:refine=4", "int3:g128"),
        Of("GPTQ, act-order", "gptq:act-order", "nf4"), Of("GPTQ, act-order", "gptq:act-order", "fp4"),
        .. s_blocks.SelectMany(block => new[] { Of("blocks as llama-quantize", "rtn", block), Of("blocks, GPTQ, act-order", "gptq:act-order", block), Of("blocks, GPTQ, act-order, refined", "gptq:act-order:refine=4", block) }),
    ];

    private static IEnumerable<MethodLine> Groups(string title, string method, string codes, string zero = "") => s_groups.Select(group => Of(title, method, $"{codes}:g{group}{zero}"));

    private static MethodLine Of(string title, string method, string target, string? transform = null) => new(title, new PlanOptions
    {
        Target = TensorTarget.Find(target)!,
        Method = RoundingMethods.Find(method)!,
        Transform = RoundingMethods.FindTransform(transform ?? method),
    });
}
