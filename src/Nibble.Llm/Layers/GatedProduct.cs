using Nibble.Core.Compute;

namespace Nibble.Llm.Layers;

/// <summary>The end of many layers: gated values, perhaps their norm, and a matrix.</summary>
internal static class GatedProduct
{
    /// <summary>y = weight times norm of (activation(gate) x up). Nothing else reads what is between.</summary>
    /// <param name="backend">What computes.</param>
    /// <param name="activation">The activation.</param>
    /// <param name="gate">[tokens x weight columns].</param>
    /// <param name="up">[tokens x weight columns].</param>
    /// <param name="gated">[tokens x weight columns] for the gated values and their norm: <paramref name="gate"/>, <paramref name="up"/> or apart from them.</param>
    /// <param name="norm">The norm, or null.</param>
    /// <param name="weight">A matrix.</param>
    /// <param name="y">[tokens x weight rows], overwritten.</param>
    public static void Run(Backend backend, Activation activation, Tensor gate, Tensor up, Tensor gated, Norm? norm, Weight weight, Tensor y)
    {
        if (norm is null)
        {
            backend.MatMulGated(activation, gate, up, gated, weight, y);
            return;
        }

        backend.GatedActivation(activation, gate, up, gated);
        new NormedInput(gated, norm, gated).MatMul(backend, weight, y);
    }
}
