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
        TVector n = Twos(x), r = Rest(x, n);
        TVector p = TLanes.MultiplyAdd(Growth(r), r, TLanes.Broadcast(1f));

        TVector half = TLanes.Round(TLanes.Multiply(n, TLanes.Broadcast(0.5f)));
        return TLanes.Multiply(TLanes.Multiply(p, TLanes.PowerOfTwo(half)), TLanes.PowerOfTwo(TLanes.Subtract(n, half)));
    }

    /// <summary>2^x for x of at most 0, within a relative error of 2e-7; 2^-126 for x below -126, NaN for NaN. Half the work of <see cref="Exp"/>.</summary>
    /// <remarks>x = n + r with |r| &lt;= 1/2; 2^r = 1 + r g(r), g of degree 5 through the Chebyshev nodes, which with its rounded coefficients is off by 9.2e-9 of 2^r at most.</remarks>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Exp2(TVector x)
    {
        // Added to 1.5 x 2^23 a value loses its fraction, and its whole part lies in the low bits. With 127 more these are the exponent of 2^n.
        TVector shift = TLanes.Broadcast(12582912f + 127f);
        x = TLanes.Max(TLanes.Broadcast(-126f), x);
        TVector whole = TLanes.Add(x, shift), r = TLanes.Subtract(x, TLanes.Subtract(whole, shift));
        TVector p = TLanes.Broadcast(0.00015453163f);
        p = TLanes.MultiplyAdd(p, r, TLanes.Broadcast(0.0013390863f));
        p = TLanes.MultiplyAdd(p, r, TLanes.Broadcast(0.009618083f));
        p = TLanes.MultiplyAdd(p, r, TLanes.Broadcast(0.05550357f));
        p = TLanes.MultiplyAdd(p, r, TLanes.Broadcast(0.2402265f));
        p = TLanes.MultiplyAdd(p, r, TLanes.Broadcast(0.6931472f));
        p = TLanes.MultiplyAdd(p, r, TLanes.Broadcast(1f));
        return TLanes.Multiply(p, TLanes.ShiftLeft(whole, 23));
    }

    /// <summary>1 + e^x.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector OnePlusExp(TVector x) => TLanes.Add(TLanes.Broadcast(1f), Exp(x));

    /// <summary>tanh x, relative error below 5e-7; NaN for NaN.</summary>
    /// <remarks>m / (m + 2) with m = e^2x - 1. As in <see cref="Exp"/>, 2x = n ln 2 + r; m = 2^n (e^r - 1) + (2^n - 1) loses nothing where x is small. Past 10 the result is 1 in float32.</remarks>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Tanh(TVector x)
    {
        x = TLanes.Min(TLanes.Broadcast(10f), TLanes.Max(TLanes.Broadcast(-10f), x));
        x = TLanes.Add(x, x);
        TVector n = Twos(x), r = Rest(x, n);
        TVector power = TLanes.PowerOfTwo(n);
        TVector m = TLanes.MultiplyAdd(power, TLanes.Multiply(Growth(r), r), TLanes.Subtract(power, TLanes.Broadcast(1f)));
        return TLanes.Divide(m, TLanes.Add(m, TLanes.Broadcast(2f)));
    }

    /// <summary>ln(1 + e^x), relative error below 5e-7; NaN for NaN.</summary>
    /// <remarks>max(x, 0) + ln(1 + t) with t = e^-|x|, and ln(1 + t) = 2 artanh(s) with s = t / (2 + t), at most 1/3, by its series up to s^15, whose remainder is below 5e-10.</remarks>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Softplus(TVector x)
    {
        TVector t = Exp(TLanes.Min(TLanes.Subtract(TLanes.Zero, x), x));
        TVector s = TLanes.Divide(t, TLanes.Add(t, TLanes.Broadcast(2f)));
        TVector square = TLanes.Multiply(s, s);
        TVector p = TLanes.Broadcast(2f / 15);
        p = TLanes.MultiplyAdd(p, square, TLanes.Broadcast(2f / 13));
        p = TLanes.MultiplyAdd(p, square, TLanes.Broadcast(2f / 11));
        p = TLanes.MultiplyAdd(p, square, TLanes.Broadcast(2f / 9));
        p = TLanes.MultiplyAdd(p, square, TLanes.Broadcast(2f / 7));
        p = TLanes.MultiplyAdd(p, square, TLanes.Broadcast(2f / 5));
        p = TLanes.MultiplyAdd(p, square, TLanes.Broadcast(2f / 3));
        p = TLanes.MultiplyAdd(p, square, TLanes.Broadcast(2f));
        return TLanes.Add(TLanes.Multiply(p, s), TLanes.Max(TLanes.Zero, x));
    }

    // The whole number n for which x = n ln 2 + r with the smallest r.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector Twos(TVector x) => TLanes.Round(TLanes.Multiply(x, TLanes.Broadcast(1.44269504f)));

    // r. ln 2 is in two parts; the first has 9 significant bits, so n times it is exact without FMA too.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector Rest(TVector x, TVector n) =>
        TLanes.MultiplyAdd(n, TLanes.Broadcast(2.12194440e-4f), TLanes.MultiplyAdd(n, TLanes.Broadcast(-0.693359375f), x));

    // (e^r - 1) / r.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector Growth(TVector r)
    {
        TVector p = TLanes.Broadcast(1f / 5040);
        p = TLanes.MultiplyAdd(p, r, TLanes.Broadcast(1f / 720));
        p = TLanes.MultiplyAdd(p, r, TLanes.Broadcast(1f / 120));
        p = TLanes.MultiplyAdd(p, r, TLanes.Broadcast(1f / 24));
        p = TLanes.MultiplyAdd(p, r, TLanes.Broadcast(1f / 6));
        p = TLanes.MultiplyAdd(p, r, TLanes.Broadcast(0.5f));
        return TLanes.MultiplyAdd(p, r, TLanes.Broadcast(1f));
    }
}
