using System.Runtime.CompilerServices;
using Nibble.Core.Compute;

namespace Nibble.Cpu.Kernels;

/// <summary>Kernels that run over the values of a row. A value's result does not depend on its place or on the width of the vectors.</summary>
internal static unsafe class Elements<TLanes, TVector>
    where TLanes : struct, ILanes<TVector>
    where TVector : struct
{
    /// <summary>y = a + b.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Add(float* a, float* b, float* y, int count)
    {
        int i = 0;
        for (; i <= count - TLanes.Count; i += TLanes.Count)
            TLanes.Store(TLanes.Add(TLanes.Load(a + i), TLanes.Load(b + i)), y + i);
        for (; i < count; i++)
            y[i] = a[i] + b[i];
    }

    /// <summary>y = factor x.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Scale(float* x, float factor, float* y, int count)
    {
        TVector f = TLanes.Broadcast(factor);
        int i = 0;
        for (; i <= count - TLanes.Count; i += TLanes.Count)
            TLanes.Store(TLanes.Multiply(f, TLanes.Load(x + i)), y + i);
        for (; i < count; i++)
            y[i] = factor * x[i];
    }

    /// <summary>y = sum over i of weights[i] x[i], from first to last.</summary>
    /// <param name="x">[terms] rows.</param>
    /// <param name="stride">Values from row to row.</param>
    /// <param name="weights">[terms].</param>
    /// <param name="terms">Terms.</param>
    /// <param name="y">[count], overwritten.</param>
    /// <param name="count">Values.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Combine(float* x, long stride, float* weights, int terms, float* y, int count)
    {
        int i = 0;
        for (; i <= count - TLanes.Count; i += TLanes.Count)
        {
            TVector sum = TLanes.Zero;
            for (int t = 0; t < terms; t++)
                sum = TLanes.MultiplyAdd(TLanes.Broadcast(weights[t]), TLanes.Load(x + (t * stride) + i), sum);
            TLanes.Store(sum, y + i);
        }

        for (; i < count; i++)
        {
            TVector sum = TLanes.Zero;
            for (int t = 0; t < terms; t++)
                sum = TLanes.MultiplyAdd(TLanes.Broadcast(weights[t]), TLanes.Broadcast(x[(t * stride) + i]), sum);
            y[i] = TLanes.First(sum);
        }
    }

    /// <summary>y = activation(gate) up.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Activate(Activation activation, float* gate, float* up, float* y, int count)
    {
        bool gelu = activation == Activation.Gelu;
        int i = 0;
        for (; i <= count - TLanes.Count; i += TLanes.Count)
        {
            TVector g = TLanes.Load(gate + i);
            TLanes.Store(TLanes.Multiply(gelu ? Gelu(g) : Silu(g), TLanes.Load(up + i)), y + i);
        }

        for (; i < count; i++)
        {
            TVector g = TLanes.Broadcast(gate[i]);
            y[i] = TLanes.First(gelu ? Gelu(g) : Silu(g)) * up[i];
        }
    }

    /// <summary>y = x / sqrt(mean of x^2 + epsilon), times the gain where there is one.</summary>
    /// <param name="x">[count].</param>
    /// <param name="gain">[count], or null.</param>
    /// <param name="epsilon">Added to the mean square.</param>
    /// <param name="y">[count], overwritten; may be x.</param>
    /// <param name="count">Values.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Norm(float* x, float* gain, float epsilon, float* y, int count)
    {
        float* buffer = stackalloc float[32];
        int whole = count & -16;
        new Span<float>(x + whole, count - whole).CopyTo(new Span<float>(buffer + 16, 16));
        for (int pass = 0; pass < 16; pass += TLanes.Count)
        {
            TVector sum = TLanes.Zero;
            for (int k = pass; k < whole; k += 16)
                sum = TLanes.MultiplyAdd(TLanes.Load(x + k), TLanes.Load(x + k), sum);
            TVector tail = TLanes.Load(buffer + 16 + pass);
            TLanes.Store(TLanes.MultiplyAdd(tail, tail, sum), buffer + pass);
        }

        float factor = 1 / MathF.Sqrt((Lanes16.Sum(buffer) / count) + epsilon);
        TVector f = TLanes.Broadcast(factor);
        int i = 0;
        for (; i <= count - TLanes.Count; i += TLanes.Count)
        {
            TVector scaled = TLanes.Multiply(TLanes.Load(x + i), f);
            TLanes.Store(gain == null ? scaled : TLanes.Multiply(scaled, TLanes.Load(gain + i)), y + i);
        }

        for (; i < count; i++)
            y[i] = x[i] * factor * (gain == null ? 1 : gain[i]);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector Silu(TVector x) => TLanes.Divide(x, OnePlusExp(TLanes.Subtract(TLanes.Zero, x)));

    // 1 + tanh(u) = 2 / (1 + e^-2u), so the tanh form is x / (1 + e^-2u).
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector Gelu(TVector x)
    {
        TVector inner = TLanes.MultiplyAdd(TLanes.Multiply(TLanes.Multiply(x, x), TLanes.Broadcast(0.044715f)), x, x);
        return TLanes.Divide(x, OnePlusExp(TLanes.Multiply(inner, TLanes.Broadcast(-2 * 0.797884560802865f))));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector OnePlusExp(TVector x) => TLanes.Add(TLanes.Broadcast(1f), VectorMath<TLanes, TVector>.Exp(x));
}
