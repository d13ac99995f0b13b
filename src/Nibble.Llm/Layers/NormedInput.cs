using Nibble.Core.Compute;

namespace Nibble.Llm.Layers;

/// <summary>What a part of a layer reads: a tensor, or its norm. Whoever reads it in one call takes <see cref="MatMul(Backend, ReadOnlySpan{Weight}, ReadOnlySpan{Tensor})"/>, for which the norm need not be stored; all others take <see cref="Value"/>.</summary>
/// <param name="X">[tokens x width].</param>
/// <param name="Norm">The norm, or null.</param>
/// <param name="Normed">[tokens x width] for the norm, where there is one: <paramref name="X"/> itself or apart from it.</param>
internal readonly record struct NormedInput(Tensor X, Norm? Norm = null, Tensor Normed = default)
{
    /// <summary>Tokens.</summary>
    public int Rows => X.Rows;

    /// <summary>The values, [tokens x width]. Asked for once: the norm is computed by the call.</summary>
    /// <param name="backend">What computes.</param>
    public Tensor Value(Backend backend)
    {
        if (Norm is null) return X;
        Norm.Apply(backend, X, Normed);
        return Normed;
    }

    /// <summary>y[i] = weights[i] times the values. The only use of them.</summary>
    /// <param name="backend">What computes.</param>
    /// <param name="weights">[n] matrices.</param>
    /// <param name="y">[n] outputs, overwritten.</param>
    public void MatMul(Backend backend, ReadOnlySpan<Weight> weights, ReadOnlySpan<Tensor> y)
    {
        if (Norm is null) backend.MatMul(X, weights, y);
        else backend.MatMulNormed(X, Norm.Options, Norm.Gain, Norm.Bias, Normed, weights, y);
    }

    /// <summary>y = weight times the values. The only use of them.</summary>
    /// <param name="backend">What computes.</param>
    /// <param name="weight">A matrix.</param>
    /// <param name="y">[tokens x weight rows], overwritten.</param>
    public void MatMul(Backend backend, Weight weight, Tensor y) => MatMul(backend, new ReadOnlySpan<Weight>(in weight), new ReadOnlySpan<Tensor>(in y));
}
