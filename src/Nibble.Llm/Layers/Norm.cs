using Nibble.Core.Compute;

namespace Nibble.Llm.Layers;

/// <summary>A norm with its weights.</summary>
/// <param name="Options">How.</param>
/// <param name="Gain">[size] or [columns], or null.</param>
/// <param name="Bias">[size] or [columns], or null.</param>
internal sealed record Norm(NormOptions Options, Weight? Gain, Weight? Bias)
{
    /// <summary>y = norm of x. In place allowed.</summary>
    /// <param name="backend">What computes.</param>
    /// <param name="x">[tokens x columns].</param>
    /// <param name="y">[tokens x columns], overwritten.</param>
    public void Apply(Backend backend, Tensor x, Tensor y) => backend.Norm(x, Options, Gain, Bias, y);
}
