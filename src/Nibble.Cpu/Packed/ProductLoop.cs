using System.Runtime.CompilerServices;

namespace Nibble.Cpu.Packed;

/// <summary>Nothing but the products and sums that a matrix product cannot do without, on registers: what bounds it where weights and tokens cost nothing.</summary>
/// <remarks>Each round lengthens <see cref="Chains"/> sums that do not wait for one another, as many as keep two multipliers busy and leave room in 16 registers.</remarks>
internal static unsafe class ProductLoop<TLanes, TBytes, TVector>
    where TLanes : struct, IByteLanes<TBytes, TVector>
    where TBytes : struct
    where TVector : struct
{
    /// <summary>Sums side by side.</summary>
    public const int Chains = 12;

    /// <summary>Multiplications with addition in a round.</summary>
    public static int RoundMacs(CodeKind kind) => Chains * (kind == CodeKind.Floats ? TLanes.Count / 4 : TLanes.Count);

    /// <summary>Multiplies with the instruction that kernels of codes of this kind use.</summary>
    /// <param name="kind">The kind.</param>
    /// <param name="rounds">How often.</param>
    /// <returns>The 32 bits of a lane of all sums together, so that nothing can be left out.</returns>
    public static uint Run(CodeKind kind, int rounds)
    {
        if (kind == CodeKind.Floats) return Floats(rounds);
        return TLanes.HasDot && kind != CodeKind.Groups ? Dots(rounds) : Pairs(rounds);
    }

    // Sums of 0.5 each.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static uint Floats(int rounds)
    {
        TVector w = TLanes.Broadcast(0.5f), x = TLanes.Broadcast(1);
        TVector s0 = TLanes.Broadcast(0), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0, s8 = s0, s9 = s0, s10 = s0, s11 = s0;
        for (; rounds > 0; rounds--)
        {
            s0 = TLanes.MultiplyAdd(w, x, s0);
            s1 = TLanes.MultiplyAdd(w, x, s1);
            s2 = TLanes.MultiplyAdd(w, x, s2);
            s3 = TLanes.MultiplyAdd(w, x, s3);
            s4 = TLanes.MultiplyAdd(w, x, s4);
            s5 = TLanes.MultiplyAdd(w, x, s5);
            s6 = TLanes.MultiplyAdd(w, x, s6);
            s7 = TLanes.MultiplyAdd(w, x, s7);
            s8 = TLanes.MultiplyAdd(w, x, s8);
            s9 = TLanes.MultiplyAdd(w, x, s9);
            s10 = TLanes.MultiplyAdd(w, x, s10);
            s11 = TLanes.MultiplyAdd(w, x, s11);
        }

        TVector low = TLanes.Add(TLanes.Add(TLanes.Add(s0, s1), TLanes.Add(s2, s3)), TLanes.Add(s4, s5)), high = TLanes.Add(TLanes.Add(TLanes.Add(s6, s7), TLanes.Add(s8, s9)), TLanes.Add(s10, s11));
        float* lanes = stackalloc float[16];
        TLanes.Store(TLanes.Add(low, high), lanes);
        return BitConverter.SingleToUInt32Bits(lanes[0]);
    }

    // Sums of four products of 1 and 1.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static uint Dots(int rounds)
    {
        TBytes w = TLanes.Repeat(0x0101), x = w;
        TBytes s0 = TLanes.Zero, s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0, s8 = s0, s9 = s0, s10 = s0, s11 = s0;
        for (; rounds > 0; rounds--)
        {
            s0 = TLanes.Dot(s0, w, x);
            s1 = TLanes.Dot(s1, w, x);
            s2 = TLanes.Dot(s2, w, x);
            s3 = TLanes.Dot(s3, w, x);
            s4 = TLanes.Dot(s4, w, x);
            s5 = TLanes.Dot(s5, w, x);
            s6 = TLanes.Dot(s6, w, x);
            s7 = TLanes.Dot(s7, w, x);
            s8 = TLanes.Dot(s8, w, x);
            s9 = TLanes.Dot(s9, w, x);
            s10 = TLanes.Dot(s10, w, x);
            s11 = TLanes.Dot(s11, w, x);
        }

        return Sum(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11);
    }

    // Each sum is itself a factor of its next products: s becomes s plus its low byte plus its high byte, and no product is the same as the one before.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static uint Pairs(int rounds)
    {
        TBytes x = TLanes.Repeat(0x0101);
        TBytes s0 = x, s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0, s8 = s0, s9 = s0, s10 = s0, s11 = s0;
        for (; rounds > 0; rounds--)
        {
            s0 = TLanes.Add16(s0, TLanes.PairProducts(s0, x));
            s1 = TLanes.Add16(s1, TLanes.PairProducts(s1, x));
            s2 = TLanes.Add16(s2, TLanes.PairProducts(s2, x));
            s3 = TLanes.Add16(s3, TLanes.PairProducts(s3, x));
            s4 = TLanes.Add16(s4, TLanes.PairProducts(s4, x));
            s5 = TLanes.Add16(s5, TLanes.PairProducts(s5, x));
            s6 = TLanes.Add16(s6, TLanes.PairProducts(s6, x));
            s7 = TLanes.Add16(s7, TLanes.PairProducts(s7, x));
            s8 = TLanes.Add16(s8, TLanes.PairProducts(s8, x));
            s9 = TLanes.Add16(s9, TLanes.PairProducts(s9, x));
            s10 = TLanes.Add16(s10, TLanes.PairProducts(s10, x));
            s11 = TLanes.Add16(s11, TLanes.PairProducts(s11, x));
        }

        return Sum(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11);
    }

    private static uint Sum(TBytes s0, TBytes s1, TBytes s2, TBytes s3, TBytes s4, TBytes s5, TBytes s6, TBytes s7, TBytes s8, TBytes s9, TBytes s10, TBytes s11)
    {
        TBytes low = TLanes.Add32(TLanes.Add32(TLanes.Add32(s0, s1), TLanes.Add32(s2, s3)), TLanes.Add32(s4, s5));
        TBytes high = TLanes.Add32(TLanes.Add32(TLanes.Add32(s6, s7), TLanes.Add32(s8, s9)), TLanes.Add32(s10, s11));
        byte* lanes = stackalloc byte[64];
        TLanes.Store(TLanes.Add32(low, high), lanes);
        return *(uint*)lanes;
    }
}
