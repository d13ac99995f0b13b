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
    /// <param name="activation">The activation.</param>
    /// <param name="gate">[count].</param>
    /// <param name="up">[count], or null for 1.</param>
    /// <param name="y">[count], overwritten; may be gate or up.</param>
    /// <param name="count">Values.</param>
    public static void Activate(Activation activation, float* gate, float* up, float* y, int count)
    {
        switch (activation)
        {
            case Activation.Identity:
                Activate<Identity<TLanes, TVector>>(gate, up, y, count);
                break;
            case Activation.Silu:
                Activate<Silu<TLanes, TVector>>(gate, up, y, count);
                break;
            case Activation.Gelu:
                Gelu.Run(gate, up, y, count);
                break;
            case Activation.Relu:
                Activate<Relu<TLanes, TVector>>(gate, up, y, count);
                break;
            case Activation.ReluSquared:
                Activate<ReluSquared<TLanes, TVector>>(gate, up, y, count);
                break;
            case Activation.Sigmoid:
                Activate<Sigmoid<TLanes, TVector>>(gate, up, y, count);
                break;
            case Activation.Softplus:
                Activate<Softplus<TLanes, TVector>>(gate, up, y, count);
                break;
            case Activation.SwigluOai:
                Activate<SwigluOai<TLanes, TVector>>(gate, up, y, count);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(activation), activation, "there is no such activation.");
        }
    }

    /// <summary>y = min(max(x, -limit), limit).</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Clamp(float* x, float limit, float* y, int count)
    {
        TVector most = TLanes.Broadcast(limit), least = TLanes.Broadcast(-limit);
        int i = 0;
        for (; i <= count - TLanes.Count; i += TLanes.Count)
            TLanes.Store(TLanes.Min(most, TLanes.Max(least, TLanes.Load(x + i))), y + i);
        for (; i < count; i++)
            y[i] = TLanes.First(TLanes.Min(most, TLanes.Max(least, TLanes.Broadcast(x[i]))));
    }

    /// <summary>y = cap tanh(x / cap).</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void SoftCap(float* x, float cap, float* y, int count)
    {
        TVector c = TLanes.Broadcast(cap);
        int i = 0;
        for (; i <= count - TLanes.Count; i += TLanes.Count)
            TLanes.Store(TLanes.Multiply(c, VectorMath<TLanes, TVector>.Tanh(TLanes.Divide(TLanes.Load(x + i), c))), y + i);
        for (; i < count; i++)
            y[i] = TLanes.First(TLanes.Multiply(c, VectorMath<TLanes, TVector>.Tanh(TLanes.Divide(TLanes.Broadcast(x[i]), c))));
    }

    /// <summary>y = norm of x, times the gain and plus the bias where there are some.</summary>
    /// <param name="x">[count].</param>
    /// <param name="options">Kind and epsilon; the size is count.</param>
    /// <param name="gain">[count], or null.</param>
    /// <param name="bias">[count], or null.</param>
    /// <param name="y">[count], overwritten; may be x.</param>
    /// <param name="count">Values.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Norm(float* x, in NormOptions options, float* gain, float* bias, float* y, int count)
    {
        float* buffer = stackalloc float[32];
        float* tail = buffer + 16;
        int whole = count & -16;
        TVector mean = TLanes.Zero;
        if (options.Kind == NormKind.Layer)
        {
            new Span<float>(tail, 16).Clear();
            new Span<float>(x + whole, count - whole).CopyTo(new Span<float>(tail, 16));
            for (int pass = 0; pass < 16; pass += TLanes.Count)
            {
                TVector sum = TLanes.Zero;
                for (int k = pass; k < whole; k += 16)
                    sum = TLanes.Add(sum, TLanes.Load(x + k));
                TLanes.Store(TLanes.Add(sum, TLanes.Load(tail + pass)), buffer + pass);
            }

            mean = TLanes.Broadcast(Lanes16.Sum(buffer) / count);
        }

        // Lanes past the end hold the mean: they add nothing.
        new Span<float>(tail, 16).Fill(TLanes.First(mean));
        new Span<float>(x + whole, count - whole).CopyTo(new Span<float>(tail, 16));
        for (int pass = 0; pass < 16; pass += TLanes.Count)
        {
            TVector sum = TLanes.Zero;
            for (int k = pass; k < whole; k += 16)
            {
                TVector value = TLanes.Subtract(TLanes.Load(x + k), mean);
                sum = TLanes.MultiplyAdd(value, value, sum);
            }

            TVector last = TLanes.Subtract(TLanes.Load(tail + pass), mean);
            TLanes.Store(TLanes.MultiplyAdd(last, last, sum), buffer + pass);
        }

        float squares = Lanes16.Sum(buffer);
        float factor = options.Kind == NormKind.Euclidean ? 1 / MathF.Max(MathF.Sqrt(squares), options.Epsilon) : 1 / MathF.Sqrt((squares / count) + options.Epsilon);
        TVector f = TLanes.Broadcast(factor);
        int i = 0;
        for (; i <= count - TLanes.Count; i += TLanes.Count)
        {
            TVector value = TLanes.Multiply(TLanes.Subtract(TLanes.Load(x + i), mean), f);
            if (gain != null) value = TLanes.Multiply(value, TLanes.Load(gain + i));
            if (bias != null) value = TLanes.Add(value, TLanes.Load(bias + i));
            TLanes.Store(value, y + i);
        }

        float middle = TLanes.First(mean);
        for (; i < count; i++)
        {
            float value = (x[i] - middle) * factor;
            if (gain != null) value *= gain[i];
            if (bias != null) value += bias[i];
            y[i] = value;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Activate<TActivation>(float* gate, float* up, float* y, int count)
        where TActivation : struct, IActivation<TVector>
    {
        TVector one = TLanes.Broadcast(1f);
        int i = 0;
        for (; i <= count - TLanes.Count; i += TLanes.Count)
            TLanes.Store(TActivation.Of(TLanes.Load(gate + i), up == null ? one : TLanes.Load(up + i)), y + i);
        for (; i < count; i++)
            y[i] = TLanes.First(TActivation.Of(TLanes.Broadcast(gate[i]), up == null ? one : TLanes.Broadcast(up[i])));
    }
}
