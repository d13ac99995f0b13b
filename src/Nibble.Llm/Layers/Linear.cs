using Nibble.Core.Compute;

namespace Nibble.Llm.Layers;

/// <summary>A matrix and its optional bias.</summary>
/// <param name="Weight">[outputs x inputs].</param>
/// <param name="Bias">[outputs], or null.</param>
internal readonly record struct Linear(Weight Weight, Weight? Bias)
{
    /// <summary>Adds the bias, where there is one, to the matrix' products.</summary>
    /// <param name="backend">What computes.</param>
    /// <param name="y">[tokens x outputs].</param>
    public void AddBias(Backend backend, Tensor y)
    {
        if (Bias is not null) backend.AddBias(y, Bias);
    }

    /// <summary>y = weight x + bias.</summary>
    /// <param name="backend">What computes.</param>
    /// <param name="x">[tokens x inputs].</param>
    /// <param name="y">[tokens x outputs].</param>
    public void Apply(Backend backend, Tensor x, Tensor y)
    {
        backend.MatMul(x, Weight, y);
        AddBias(backend, y);
    }
}
