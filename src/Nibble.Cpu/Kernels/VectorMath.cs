using System.Runtime.CompilerServices;

namespace Nibble.Cpu.Kernels;

/// <summary>Functions of vectors of any width, equal in every lane whatever the width.</summary>
internal static class VectorMath<TLanes, TVector>
    where TLanes : struct, ILanes<TVector>
    where TVector : struct
{
    /// <summary>
    /// e^x within 2 units in the last place (relative error below 1.5e-7): 0 below -104, infinity above 88.73, NaN for NaN.
    /// </summary>
    /// <remarks>x = n ln 2 + r with |r| &lt;= ln 2 / 2; e^r by its Taylor polynomial of degree 7, whose remainder is below 5.3e-9; then times 2^n in two steps, so that subnormal results round once.</remarks>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Exp(TVector x)
    {
        x = TLanes.Min(TLanes.Broadcast(89f), TLanes.Max(TLanes.Broadcast(-104f), x));
        TVector n = TLanes.Round(TLanes.Multiply(x, TLanes.Broadcast(1.44269504f)));

        // ln 2 in two parts; the first has 9 significant bits, so n times it is exact without FMA too.
        TVector r = TLanes.MultiplyAdd(n, TLanes.Broadcast(-0.693359375f), x);
        r = TLanes.MultiplyAdd(n, TLanes.Broadcast(2.12194440e-4f), r);
        TVector p = TLanes.Broadcast(1f / 5040);
        p = TLanes.MultiplyAdd(p, r, TLanes.Broadcast(1f / 720));
        p = TLanes.MultiplyAdd(p, r, TLanes.Broadcast(1f / 120));
        p = TLanes.MultiplyAdd(p, r, TLanes.Broadcast(1f / 24));
        p = TLanes.MultiplyAdd(p, r, TLanes.Broadcast(1f / 6));
        p = TLanes.MultiplyAdd(p, r, TLanes.Broadcast(0.5f));
        p = TLanes.MultiplyAdd(p, r, TLanes.Broadcast(1f));
        p = TLanes.MultiplyAdd(p, r, TLanes.Broadcast(1f));

        TVector half = TLanes.Round(TLanes.Multiply(n, TLanes.Broadcast(0.5f)));
        return TLanes.Multiply(TLanes.Multiply(p, TLanes.PowerOfTwo(half)), TLanes.PowerOfTwo(TLanes.Subtract(n, half)));
    }
}
