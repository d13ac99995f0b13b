using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using Nibble.Core.Compute;

namespace Nibble.Quantize.Gradients;

/// <summary>a(gate) x up and its gradients, for SiLU and the tanh form of GELU (whose rounding to half precision has no gradient and is left out).</summary>
internal static class GatedActivation
{
    // sqrt(2 / pi), and the cubic's share.
    private const float Root = 0.7978845608f, Cubic = 0.044715f;

    /// <summary>inner = a(gate) x up.</summary>
    public static void Forward(Activation activation, ReadOnlySpan<float> gate, ReadOnlySpan<float> up, Span<float> inner)
    {
        ReadOnlySpan<Vector512<float>> gates = Vectors(gate), ups = Vectors(up);
        Span<Vector512<float>> inners = MemoryMarshal.Cast<float, Vector512<float>>(inner);
        for (int i = 0; i < gates.Length; i++)
            inners[i] = Value(activation, gates[i]).Value * ups[i];
        for (int i = gates.Length * Vector512<float>.Count; i < gate.Length; i++)
            inner[i] = Value(activation, Vector512.Create(gate[i])).Value[0] * up[i];
    }

    /// <summary>The gradients at gate and up.</summary>
    /// <param name="activation">The activation.</param>
    /// <param name="gate">What it was given.</param>
    /// <param name="up">What it was multiplied with.</param>
    /// <param name="inner">The gradient at the product.</param>
    /// <param name="gateGradient">Overwritten.</param>
    /// <param name="upGradient">Overwritten; may be <paramref name="inner"/>.</param>
    public static void Backward(Activation activation, ReadOnlySpan<float> gate, ReadOnlySpan<float> up, ReadOnlySpan<float> inner, Span<float> gateGradient, Span<float> upGradient)
    {
        ReadOnlySpan<Vector512<float>> gates = Vectors(gate), ups = Vectors(up), inners = Vectors(inner);
        Span<Vector512<float>> gateGradients = MemoryMarshal.Cast<float, Vector512<float>>(gateGradient), upGradients = MemoryMarshal.Cast<float, Vector512<float>>(upGradient);
        for (int i = 0; i < gates.Length; i++)
        {
            (Vector512<float> value, Vector512<float> slope) = Value(activation, gates[i]);
            gateGradients[i] = inners[i] * ups[i] * slope;
            upGradients[i] = inners[i] * value;
        }

        for (int i = gates.Length * Vector512<float>.Count; i < gate.Length; i++)
        {
            (Vector512<float> value, Vector512<float> slope) = Value(activation, Vector512.Create(gate[i]));
            gateGradient[i] = inner[i] * up[i] * slope[0];
            upGradient[i] = inner[i] * value[0];
        }
    }

    private static ReadOnlySpan<Vector512<float>> Vectors(ReadOnlySpan<float> values) => MemoryMarshal.Cast<float, Vector512<float>>(values);

    private static (Vector512<float> Value, Vector512<float> Slope) Value(Activation activation, Vector512<float> x)
    {
        Vector512<float> one = Vector512<float>.One;
        if (activation == Activation.Silu)
        {
            Vector512<float> sigmoid = one / (one + Vector512.Exp(-x));
            return (x * sigmoid, sigmoid * (one + (x * (one - sigmoid))));
        }

        Vector512<float> half = Vector512.Create(0.5f), square = x * x;
        Vector512<float> tanh = one - (Vector512.Create(2f) / (Vector512.Exp(Vector512.Create(2f) * Root * x * (one + (square * Cubic))) + one));
        return (half * x * (one + tanh), half * (one + tanh) + (half * x * (one - (tanh * tanh)) * Root * (one + (square * (3 * Cubic)))));
    }
}
