using System.Runtime.CompilerServices;

namespace Nibble.Cpu.Kernels;

/// <summary>Kernels of recurrent states. A row's result does not depend on its place or on the width of the vectors.</summary>
internal static unsafe class Recurrence<TLanes, TVector>
    where TLanes : struct, ILanes<TVector>
    where TVector : struct
{
    /// <summary>y = e^(factor x).</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Exp(float* x, float factor, float* y, int count)
    {
        TVector f = TLanes.Broadcast(factor);
        int i = 0;
        for (; i <= count - TLanes.Count; i += TLanes.Count)
            TLanes.Store(VectorMath<TLanes, TVector>.Exp(TLanes.Multiply(f, TLanes.Load(x + i))), y + i);
        for (; i < count; i++)
            y[i] = TLanes.First(VectorMath<TLanes, TVector>.Exp(TLanes.Broadcast(factor * x[i])));
    }

    /// <summary>state = factors state + amount direction, value by value.</summary>
    /// <param name="state">[count], changed.</param>
    /// <param name="factors">[count].</param>
    /// <param name="amount">How much of the direction is added.</param>
    /// <param name="direction">[count].</param>
    /// <param name="probe">[count].</param>
    /// <param name="count">Values.</param>
    /// <returns>The product of the new state and the probe: 16 partial sums, then <see cref="Lanes16.Sum"/>.</returns>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static float Advance(float* state, float* factors, float amount, float* direction, float* probe, int count)
    {
        float* sums = stackalloc float[16];
        TVector a = TLanes.Broadcast(amount);
        int whole = count & -16;
        for (int pass = 0; pass < 16; pass += TLanes.Count)
        {
            TVector sum = TLanes.Zero;
            for (int k = pass; k < whole; k += 16)
            {
                TVector value = TLanes.MultiplyAdd(TLanes.Load(factors + k), TLanes.Load(state + k), TLanes.Multiply(a, TLanes.Load(direction + k)));
                TLanes.Store(value, state + k);
                sum = TLanes.MultiplyAdd(value, TLanes.Load(probe + k), sum);
            }

            TLanes.Store(sum, sums + pass);
        }

        for (int k = whole; k < count; k++)
        {
            TVector value = TLanes.MultiplyAdd(TLanes.Broadcast(factors[k]), TLanes.Broadcast(state[k]), TLanes.Broadcast(amount * direction[k]));
            state[k] = TLanes.First(value);
            sums[k - whole] = TLanes.First(TLanes.MultiplyAdd(value, TLanes.Broadcast(probe[k]), TLanes.Broadcast(sums[k - whole])));
        }

        return Lanes16.Sum(sums);
    }
}
