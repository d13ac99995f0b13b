using System.Runtime.CompilerServices;

namespace Nibble.Cpu.Packed;

/// <summary>Products of unpacked rows and some tokens' 8-bit activations (<see cref="TokenTiles"/>): 16 rows of a panel, or as many of them as a vector has lanes.</summary>
/// <remarks>Integer parts are exact; a (row, token) pair adds up its runs in float32 from first to last, whatever the other tokens. Each kernel adds to its results.</remarks>
internal static unsafe partial class PanelTiles<TLanes, TBytes, TVector>
    where TLanes : struct, IByteLanes<TBytes, TVector>
    where TBytes : struct
    where TVector : struct
{
    /// <summary>results[t, r] += products of row r and token t of a tile of tokens.</summary>
    /// <param name="kind">What the codes are.</param>
    /// <param name="hasMinimum">Whether minima are added.</param>
    /// <param name="panel">[runs x <see cref="PanelLayout.Bytes"/>].</param>
    /// <param name="x">The tile of tokens.</param>
    /// <param name="width">Its tokens: 4 or 8.</param>
    /// <param name="runs">Runs of 32 columns.</param>
    /// <param name="results">[width x 16].</param>
    public static void Add(CodeKind kind, bool hasMinimum, byte* panel, byte* x, int width, int runs, float* results)
    {
        // Only vectors that have not all 16 rows have the instruction.
        int rowBytes = TLanes.HasDot && kind != CodeKind.Groups ? 2 * TLanes.Count : TLanes.Count;
        for (int part = 0; part < 64; part += rowBytes)
        {
            for (int token = 0; token < width;)
            {
                // Wide vectors come with the registers for 8 tokens.
                bool isEight = (TLanes.Count == 64 || (TLanes.HasWideSums && kind != CodeKind.Groups)) && width == 8;
                byte* codes = panel + part, tokens = x + (4 * token);
                float* sums = results + (16 * token) + (part / 4);
                if (isEight) Eight(kind, hasMinimum, codes, tokens, width, runs, sums);
                else Four(kind, hasMinimum, codes, tokens, width, runs, sums);
                token += isEight ? 8 : 4;
            }
        }
    }

    private static void Eight(CodeKind kind, bool hasMinimum, byte* panel, byte* x, int width, int runs, float* results)
    {
        if (kind == CodeKind.Groups) Groups8(panel, x, width, runs, hasMinimum, results);
        else if (TLanes.HasDot) Dots8(kind, panel, x, width, runs, hasMinimum, results);
        else if (kind == CodeKind.Nibbles) Nibbles8(panel, x, width, runs, hasMinimum, results);
        else if (kind == CodeKind.FiveBits) FiveBits8(panel, x, width, runs, hasMinimum, results);
        else Bytes8(panel, x, width, runs, hasMinimum, results);
    }

    private static void Four(CodeKind kind, bool hasMinimum, byte* panel, byte* x, int width, int runs, float* results)
    {
        if (kind == CodeKind.Groups) Groups4(panel, x, width, runs, hasMinimum, results);
        else if (TLanes.HasDot) Dots4(kind, panel, x, width, runs, hasMinimum, results);
        else if (kind == CodeKind.Nibbles) Nibbles4(panel, x, width, runs, hasMinimum, results);
        else if (kind == CodeKind.FiveBits) FiveBits4(panel, x, width, runs, hasMinimum, results);
        else Bytes4(panel, x, width, runs, hasMinimum, results);
    }

    /// <summary>Codes of at most 15, less 8 where there are no minima, 8 tokens.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Nibbles8(byte* panel, byte* x, int width, int runs, bool hasMinimum, float* results)
    {
        int group = 4 * width, step = 48 * width;
        TBytes ones = TLanes.Repeat(1);
        TVector f0 = TLanes.Load(results + (0 * 16)), f1 = TLanes.Load(results + (1 * 16)), f2 = TLanes.Load(results + (2 * 16)), f3 = TLanes.Load(results + (3 * 16)), f4 = TLanes.Load(results + (4 * 16)), f5 = TLanes.Load(results + (5 * 16)), f6 = TLanes.Load(results + (6 * 16)), f7 = TLanes.Load(results + (7 * 16));
        for (; runs > 0; runs--, panel += PanelLayout.Bytes, x += step)
        {
            float* scales = (float*)(x + (8 * group)), sums = scales + width;
            byte* offsets = (byte*)(scales + (3 * width));
            TBytes v = TLanes.Load(panel), w = TLanes.Load(panel + 64);
            byte* codes = panel + 128, a = x, b = x + group;
            TBytes s0 = TLanes.Add16(TLanes.PairProducts(v, TLanes.Repeat(a + 0)), TLanes.PairProducts(w, TLanes.Repeat(b + 0))), s1 = TLanes.Add16(TLanes.PairProducts(v, TLanes.Repeat(a + 4)), TLanes.PairProducts(w, TLanes.Repeat(b + 4))), s2 = TLanes.Add16(TLanes.PairProducts(v, TLanes.Repeat(a + 8)), TLanes.PairProducts(w, TLanes.Repeat(b + 8))), s3 = TLanes.Add16(TLanes.PairProducts(v, TLanes.Repeat(a + 12)), TLanes.PairProducts(w, TLanes.Repeat(b + 12))), s4 = TLanes.Add16(TLanes.PairProducts(v, TLanes.Repeat(a + 16)), TLanes.PairProducts(w, TLanes.Repeat(b + 16))), s5 = TLanes.Add16(TLanes.PairProducts(v, TLanes.Repeat(a + 20)), TLanes.PairProducts(w, TLanes.Repeat(b + 20))), s6 = TLanes.Add16(TLanes.PairProducts(v, TLanes.Repeat(a + 24)), TLanes.PairProducts(w, TLanes.Repeat(b + 24))), s7 = TLanes.Add16(TLanes.PairProducts(v, TLanes.Repeat(a + 28)), TLanes.PairProducts(w, TLanes.Repeat(b + 28)));
            for (int g = 1; g < 4; g++, codes += 128)
            {
                v = TLanes.Load(codes);
                w = TLanes.Load(codes + 64);
                a += 2 * group;
                b += 2 * group;
                s0 = TLanes.Add16(TLanes.Add16(s0, TLanes.PairProducts(v, TLanes.Repeat(a + 0))), TLanes.PairProducts(w, TLanes.Repeat(b + 0)));
                s1 = TLanes.Add16(TLanes.Add16(s1, TLanes.PairProducts(v, TLanes.Repeat(a + 4))), TLanes.PairProducts(w, TLanes.Repeat(b + 4)));
                s2 = TLanes.Add16(TLanes.Add16(s2, TLanes.PairProducts(v, TLanes.Repeat(a + 8))), TLanes.PairProducts(w, TLanes.Repeat(b + 8)));
                s3 = TLanes.Add16(TLanes.Add16(s3, TLanes.PairProducts(v, TLanes.Repeat(a + 12))), TLanes.PairProducts(w, TLanes.Repeat(b + 12)));
                s4 = TLanes.Add16(TLanes.Add16(s4, TLanes.PairProducts(v, TLanes.Repeat(a + 16))), TLanes.PairProducts(w, TLanes.Repeat(b + 16)));
                s5 = TLanes.Add16(TLanes.Add16(s5, TLanes.PairProducts(v, TLanes.Repeat(a + 20))), TLanes.PairProducts(w, TLanes.Repeat(b + 20)));
                s6 = TLanes.Add16(TLanes.Add16(s6, TLanes.PairProducts(v, TLanes.Repeat(a + 24))), TLanes.PairProducts(w, TLanes.Repeat(b + 24)));
                s7 = TLanes.Add16(TLanes.Add16(s7, TLanes.PairProducts(v, TLanes.Repeat(a + 28))), TLanes.PairProducts(w, TLanes.Repeat(b + 28)));
            }

            s0 = TLanes.PairProducts16(s0, ones);
            s1 = TLanes.PairProducts16(s1, ones);
            s2 = TLanes.PairProducts16(s2, ones);
            s3 = TLanes.PairProducts16(s3, ones);
            s4 = TLanes.PairProducts16(s4, ones);
            s5 = TLanes.PairProducts16(s5, ones);
            s6 = TLanes.PairProducts16(s6, ones);
            s7 = TLanes.PairProducts16(s7, ones);
            if (!hasMinimum)
            {
                s0 = TLanes.Add32(s0, TLanes.Repeat(offsets + 0));
                s1 = TLanes.Add32(s1, TLanes.Repeat(offsets + 4));
                s2 = TLanes.Add32(s2, TLanes.Repeat(offsets + 8));
                s3 = TLanes.Add32(s3, TLanes.Repeat(offsets + 12));
                s4 = TLanes.Add32(s4, TLanes.Repeat(offsets + 16));
                s5 = TLanes.Add32(s5, TLanes.Repeat(offsets + 20));
                s6 = TLanes.Add32(s6, TLanes.Repeat(offsets + 24));
                s7 = TLanes.Add32(s7, TLanes.Repeat(offsets + 28));
            }

            TVector scale = TLanes.Load((float*)(panel + PanelLayout.Scales));
            f0 = TLanes.MultiplyAdd(TLanes.ToFloat(s0), TLanes.Multiply(scale, TLanes.Broadcast(scales[0])), f0);
            f1 = TLanes.MultiplyAdd(TLanes.ToFloat(s1), TLanes.Multiply(scale, TLanes.Broadcast(scales[1])), f1);
            f2 = TLanes.MultiplyAdd(TLanes.ToFloat(s2), TLanes.Multiply(scale, TLanes.Broadcast(scales[2])), f2);
            f3 = TLanes.MultiplyAdd(TLanes.ToFloat(s3), TLanes.Multiply(scale, TLanes.Broadcast(scales[3])), f3);
            f4 = TLanes.MultiplyAdd(TLanes.ToFloat(s4), TLanes.Multiply(scale, TLanes.Broadcast(scales[4])), f4);
            f5 = TLanes.MultiplyAdd(TLanes.ToFloat(s5), TLanes.Multiply(scale, TLanes.Broadcast(scales[5])), f5);
            f6 = TLanes.MultiplyAdd(TLanes.ToFloat(s6), TLanes.Multiply(scale, TLanes.Broadcast(scales[6])), f6);
            f7 = TLanes.MultiplyAdd(TLanes.ToFloat(s7), TLanes.Multiply(scale, TLanes.Broadcast(scales[7])), f7);
            if (hasMinimum)
            {
                scale = TLanes.Load((float*)(panel + PanelLayout.Minima));
                f0 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[0]), f0);
                f1 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[1]), f1);
                f2 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[2]), f2);
                f3 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[3]), f3);
                f4 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[4]), f4);
                f5 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[5]), f5);
                f6 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[6]), f6);
                f7 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[7]), f7);
            }
        }

        TLanes.Store(f0, results + (0 * 16));
        TLanes.Store(f1, results + (1 * 16));
        TLanes.Store(f2, results + (2 * 16));
        TLanes.Store(f3, results + (3 * 16));
        TLanes.Store(f4, results + (4 * 16));
        TLanes.Store(f5, results + (5 * 16));
        TLanes.Store(f6, results + (6 * 16));
        TLanes.Store(f7, results + (7 * 16));
    }

    /// <summary>Codes of at most 15, less 8 where there are no minima, 4 tokens.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Nibbles4(byte* panel, byte* x, int width, int runs, bool hasMinimum, float* results)
    {
        int group = 4 * width, step = 48 * width;
        TBytes ones = TLanes.Repeat(1);
        TVector f0 = TLanes.Load(results + (0 * 16)), f1 = TLanes.Load(results + (1 * 16)), f2 = TLanes.Load(results + (2 * 16)), f3 = TLanes.Load(results + (3 * 16));
        for (; runs > 0; runs--, panel += PanelLayout.Bytes, x += step)
        {
            float* scales = (float*)(x + (8 * group)), sums = scales + width;
            byte* offsets = (byte*)(scales + (3 * width));
            TBytes s0 = TLanes.Zero, s1 = TLanes.Zero, s2 = TLanes.Zero, s3 = TLanes.Zero;
            byte* codes = panel, a = x;
            for (int g = 0; g < 8; g++, codes += 64, a += group)
            {
                TBytes w = TLanes.Load(codes);
                s0 = TLanes.Add16(s0, TLanes.PairProducts(w, TLanes.Repeat(a + 0)));
                s1 = TLanes.Add16(s1, TLanes.PairProducts(w, TLanes.Repeat(a + 4)));
                s2 = TLanes.Add16(s2, TLanes.PairProducts(w, TLanes.Repeat(a + 8)));
                s3 = TLanes.Add16(s3, TLanes.PairProducts(w, TLanes.Repeat(a + 12)));
            }

            s0 = TLanes.PairProducts16(s0, ones);
            s1 = TLanes.PairProducts16(s1, ones);
            s2 = TLanes.PairProducts16(s2, ones);
            s3 = TLanes.PairProducts16(s3, ones);
            if (!hasMinimum)
            {
                s0 = TLanes.Add32(s0, TLanes.Repeat(offsets + 0));
                s1 = TLanes.Add32(s1, TLanes.Repeat(offsets + 4));
                s2 = TLanes.Add32(s2, TLanes.Repeat(offsets + 8));
                s3 = TLanes.Add32(s3, TLanes.Repeat(offsets + 12));
            }

            TVector scale = TLanes.Load((float*)(panel + PanelLayout.Scales));
            f0 = TLanes.MultiplyAdd(TLanes.ToFloat(s0), TLanes.Multiply(scale, TLanes.Broadcast(scales[0])), f0);
            f1 = TLanes.MultiplyAdd(TLanes.ToFloat(s1), TLanes.Multiply(scale, TLanes.Broadcast(scales[1])), f1);
            f2 = TLanes.MultiplyAdd(TLanes.ToFloat(s2), TLanes.Multiply(scale, TLanes.Broadcast(scales[2])), f2);
            f3 = TLanes.MultiplyAdd(TLanes.ToFloat(s3), TLanes.Multiply(scale, TLanes.Broadcast(scales[3])), f3);
            if (hasMinimum)
            {
                scale = TLanes.Load((float*)(panel + PanelLayout.Minima));
                f0 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[0]), f0);
                f1 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[1]), f1);
                f2 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[2]), f2);
                f3 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[3]), f3);
            }
        }

        TLanes.Store(f0, results + (0 * 16));
        TLanes.Store(f1, results + (1 * 16));
        TLanes.Store(f2, results + (2 * 16));
        TLanes.Store(f3, results + (3 * 16));
    }

    /// <summary>Codes of at most 31, less 16 where there are no minima, 8 tokens.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FiveBits8(byte* panel, byte* x, int width, int runs, bool hasMinimum, float* results)
    {
        int group = 4 * width, step = 48 * width;
        TBytes ones = TLanes.Repeat(1);
        TVector f0 = TLanes.Load(results + (0 * 16)), f1 = TLanes.Load(results + (1 * 16)), f2 = TLanes.Load(results + (2 * 16)), f3 = TLanes.Load(results + (3 * 16)), f4 = TLanes.Load(results + (4 * 16)), f5 = TLanes.Load(results + (5 * 16)), f6 = TLanes.Load(results + (6 * 16)), f7 = TLanes.Load(results + (7 * 16));
        for (; runs > 0; runs--, panel += PanelLayout.Bytes, x += step)
        {
            float* scales = (float*)(x + (8 * group)), sums = scales + width;
            byte* offsets = (byte*)(scales + (3 * width));
            TBytes i0 = TLanes.Zero, i1 = TLanes.Zero, i2 = TLanes.Zero, i3 = TLanes.Zero, i4 = TLanes.Zero, i5 = TLanes.Zero, i6 = TLanes.Zero, i7 = TLanes.Zero;
            byte* codes = panel, a = x;
            for (int half = 0; half < 2; half++)
            {
                TBytes s0 = TLanes.Zero, s1 = TLanes.Zero, s2 = TLanes.Zero, s3 = TLanes.Zero, s4 = TLanes.Zero, s5 = TLanes.Zero, s6 = TLanes.Zero, s7 = TLanes.Zero;
                for (int g = 0; g < 4; g++, codes += 64, a += group)
                {
                    TBytes w = TLanes.Load(codes);
                    s0 = TLanes.Add16(s0, TLanes.PairProducts(w, TLanes.Repeat(a + 0)));
                    s1 = TLanes.Add16(s1, TLanes.PairProducts(w, TLanes.Repeat(a + 4)));
                    s2 = TLanes.Add16(s2, TLanes.PairProducts(w, TLanes.Repeat(a + 8)));
                    s3 = TLanes.Add16(s3, TLanes.PairProducts(w, TLanes.Repeat(a + 12)));
                    s4 = TLanes.Add16(s4, TLanes.PairProducts(w, TLanes.Repeat(a + 16)));
                    s5 = TLanes.Add16(s5, TLanes.PairProducts(w, TLanes.Repeat(a + 20)));
                    s6 = TLanes.Add16(s6, TLanes.PairProducts(w, TLanes.Repeat(a + 24)));
                    s7 = TLanes.Add16(s7, TLanes.PairProducts(w, TLanes.Repeat(a + 28)));
                }

                i0 = TLanes.Add32(i0, TLanes.PairProducts16(s0, ones));
                i1 = TLanes.Add32(i1, TLanes.PairProducts16(s1, ones));
                i2 = TLanes.Add32(i2, TLanes.PairProducts16(s2, ones));
                i3 = TLanes.Add32(i3, TLanes.PairProducts16(s3, ones));
                i4 = TLanes.Add32(i4, TLanes.PairProducts16(s4, ones));
                i5 = TLanes.Add32(i5, TLanes.PairProducts16(s5, ones));
                i6 = TLanes.Add32(i6, TLanes.PairProducts16(s6, ones));
                i7 = TLanes.Add32(i7, TLanes.PairProducts16(s7, ones));
            }

            if (!hasMinimum)
            {
                i0 = TLanes.Add32(i0, TLanes.Left32(TLanes.Repeat(offsets + 0), 1));
                i1 = TLanes.Add32(i1, TLanes.Left32(TLanes.Repeat(offsets + 4), 1));
                i2 = TLanes.Add32(i2, TLanes.Left32(TLanes.Repeat(offsets + 8), 1));
                i3 = TLanes.Add32(i3, TLanes.Left32(TLanes.Repeat(offsets + 12), 1));
                i4 = TLanes.Add32(i4, TLanes.Left32(TLanes.Repeat(offsets + 16), 1));
                i5 = TLanes.Add32(i5, TLanes.Left32(TLanes.Repeat(offsets + 20), 1));
                i6 = TLanes.Add32(i6, TLanes.Left32(TLanes.Repeat(offsets + 24), 1));
                i7 = TLanes.Add32(i7, TLanes.Left32(TLanes.Repeat(offsets + 28), 1));
            }

            TVector scale = TLanes.Load((float*)(panel + PanelLayout.Scales));
            f0 = TLanes.MultiplyAdd(TLanes.ToFloat(i0), TLanes.Multiply(scale, TLanes.Broadcast(scales[0])), f0);
            f1 = TLanes.MultiplyAdd(TLanes.ToFloat(i1), TLanes.Multiply(scale, TLanes.Broadcast(scales[1])), f1);
            f2 = TLanes.MultiplyAdd(TLanes.ToFloat(i2), TLanes.Multiply(scale, TLanes.Broadcast(scales[2])), f2);
            f3 = TLanes.MultiplyAdd(TLanes.ToFloat(i3), TLanes.Multiply(scale, TLanes.Broadcast(scales[3])), f3);
            f4 = TLanes.MultiplyAdd(TLanes.ToFloat(i4), TLanes.Multiply(scale, TLanes.Broadcast(scales[4])), f4);
            f5 = TLanes.MultiplyAdd(TLanes.ToFloat(i5), TLanes.Multiply(scale, TLanes.Broadcast(scales[5])), f5);
            f6 = TLanes.MultiplyAdd(TLanes.ToFloat(i6), TLanes.Multiply(scale, TLanes.Broadcast(scales[6])), f6);
            f7 = TLanes.MultiplyAdd(TLanes.ToFloat(i7), TLanes.Multiply(scale, TLanes.Broadcast(scales[7])), f7);
            if (hasMinimum)
            {
                scale = TLanes.Load((float*)(panel + PanelLayout.Minima));
                f0 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[0]), f0);
                f1 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[1]), f1);
                f2 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[2]), f2);
                f3 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[3]), f3);
                f4 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[4]), f4);
                f5 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[5]), f5);
                f6 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[6]), f6);
                f7 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[7]), f7);
            }
        }

        TLanes.Store(f0, results + (0 * 16));
        TLanes.Store(f1, results + (1 * 16));
        TLanes.Store(f2, results + (2 * 16));
        TLanes.Store(f3, results + (3 * 16));
        TLanes.Store(f4, results + (4 * 16));
        TLanes.Store(f5, results + (5 * 16));
        TLanes.Store(f6, results + (6 * 16));
        TLanes.Store(f7, results + (7 * 16));
    }

    /// <summary>Codes of at most 31, less 16 where there are no minima, 4 tokens.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FiveBits4(byte* panel, byte* x, int width, int runs, bool hasMinimum, float* results)
    {
        int group = 4 * width, step = 48 * width;
        TBytes ones = TLanes.Repeat(1);
        TVector f0 = TLanes.Load(results + (0 * 16)), f1 = TLanes.Load(results + (1 * 16)), f2 = TLanes.Load(results + (2 * 16)), f3 = TLanes.Load(results + (3 * 16));
        for (; runs > 0; runs--, panel += PanelLayout.Bytes, x += step)
        {
            float* scales = (float*)(x + (8 * group)), sums = scales + width;
            byte* offsets = (byte*)(scales + (3 * width));
            TBytes i0 = TLanes.Zero, i1 = TLanes.Zero, i2 = TLanes.Zero, i3 = TLanes.Zero;
            byte* codes = panel, a = x;
            for (int half = 0; half < 2; half++)
            {
                TBytes s0 = TLanes.Zero, s1 = TLanes.Zero, s2 = TLanes.Zero, s3 = TLanes.Zero;
                for (int g = 0; g < 4; g++, codes += 64, a += group)
                {
                    TBytes w = TLanes.Load(codes);
                    s0 = TLanes.Add16(s0, TLanes.PairProducts(w, TLanes.Repeat(a + 0)));
                    s1 = TLanes.Add16(s1, TLanes.PairProducts(w, TLanes.Repeat(a + 4)));
                    s2 = TLanes.Add16(s2, TLanes.PairProducts(w, TLanes.Repeat(a + 8)));
                    s3 = TLanes.Add16(s3, TLanes.PairProducts(w, TLanes.Repeat(a + 12)));
                }

                i0 = TLanes.Add32(i0, TLanes.PairProducts16(s0, ones));
                i1 = TLanes.Add32(i1, TLanes.PairProducts16(s1, ones));
                i2 = TLanes.Add32(i2, TLanes.PairProducts16(s2, ones));
                i3 = TLanes.Add32(i3, TLanes.PairProducts16(s3, ones));
            }

            if (!hasMinimum)
            {
                i0 = TLanes.Add32(i0, TLanes.Left32(TLanes.Repeat(offsets + 0), 1));
                i1 = TLanes.Add32(i1, TLanes.Left32(TLanes.Repeat(offsets + 4), 1));
                i2 = TLanes.Add32(i2, TLanes.Left32(TLanes.Repeat(offsets + 8), 1));
                i3 = TLanes.Add32(i3, TLanes.Left32(TLanes.Repeat(offsets + 12), 1));
            }

            TVector scale = TLanes.Load((float*)(panel + PanelLayout.Scales));
            f0 = TLanes.MultiplyAdd(TLanes.ToFloat(i0), TLanes.Multiply(scale, TLanes.Broadcast(scales[0])), f0);
            f1 = TLanes.MultiplyAdd(TLanes.ToFloat(i1), TLanes.Multiply(scale, TLanes.Broadcast(scales[1])), f1);
            f2 = TLanes.MultiplyAdd(TLanes.ToFloat(i2), TLanes.Multiply(scale, TLanes.Broadcast(scales[2])), f2);
            f3 = TLanes.MultiplyAdd(TLanes.ToFloat(i3), TLanes.Multiply(scale, TLanes.Broadcast(scales[3])), f3);
            if (hasMinimum)
            {
                scale = TLanes.Load((float*)(panel + PanelLayout.Minima));
                f0 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[0]), f0);
                f1 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[1]), f1);
                f2 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[2]), f2);
                f3 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[3]), f3);
            }
        }

        TLanes.Store(f0, results + (0 * 16));
        TLanes.Store(f1, results + (1 * 16));
        TLanes.Store(f2, results + (2 * 16));
        TLanes.Store(f3, results + (3 * 16));
    }

    /// <summary>Codes of at most 255 that stand for themselves less 128, as two nibbles, 8 tokens.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Bytes8(byte* panel, byte* x, int width, int runs, bool hasMinimum, float* results)
    {
        int group = 4 * width, step = 48 * width;
        TBytes sixteens = TLanes.Repeat(16);
        TBytes ones = TLanes.Repeat(1);
        TVector f0 = TLanes.Load(results + (0 * 16)), f1 = TLanes.Load(results + (1 * 16)), f2 = TLanes.Load(results + (2 * 16)), f3 = TLanes.Load(results + (3 * 16)), f4 = TLanes.Load(results + (4 * 16)), f5 = TLanes.Load(results + (5 * 16)), f6 = TLanes.Load(results + (6 * 16)), f7 = TLanes.Load(results + (7 * 16));
        for (; runs > 0; runs--, panel += PanelLayout.Bytes, x += step)
        {
            float* scales = (float*)(x + (8 * group)), sums = scales + width;
            byte* offsets = (byte*)(scales + (3 * width));
            TBytes l0 = TLanes.Zero, l1 = TLanes.Zero, l2 = TLanes.Zero, l3 = TLanes.Zero, l4 = TLanes.Zero, l5 = TLanes.Zero, l6 = TLanes.Zero, l7 = TLanes.Zero;
            TBytes h0 = TLanes.Zero, h1 = TLanes.Zero, h2 = TLanes.Zero, h3 = TLanes.Zero, h4 = TLanes.Zero, h5 = TLanes.Zero, h6 = TLanes.Zero, h7 = TLanes.Zero;
            byte* codes = panel, a = x;
            for (int g = 0; g < 8; g++, codes += 64, a += group)
            {
                TBytes w = TLanes.Load(codes), low = TLanes.Bits(w, 0, 15), high = TLanes.Bits(w, 4, 15);
                w = TLanes.Repeat(a + 0);
                l0 = TLanes.Add16(l0, TLanes.PairProducts(low, w));
                h0 = TLanes.Add16(h0, TLanes.PairProducts(high, w));
                w = TLanes.Repeat(a + 4);
                l1 = TLanes.Add16(l1, TLanes.PairProducts(low, w));
                h1 = TLanes.Add16(h1, TLanes.PairProducts(high, w));
                w = TLanes.Repeat(a + 8);
                l2 = TLanes.Add16(l2, TLanes.PairProducts(low, w));
                h2 = TLanes.Add16(h2, TLanes.PairProducts(high, w));
                w = TLanes.Repeat(a + 12);
                l3 = TLanes.Add16(l3, TLanes.PairProducts(low, w));
                h3 = TLanes.Add16(h3, TLanes.PairProducts(high, w));
                w = TLanes.Repeat(a + 16);
                l4 = TLanes.Add16(l4, TLanes.PairProducts(low, w));
                h4 = TLanes.Add16(h4, TLanes.PairProducts(high, w));
                w = TLanes.Repeat(a + 20);
                l5 = TLanes.Add16(l5, TLanes.PairProducts(low, w));
                h5 = TLanes.Add16(h5, TLanes.PairProducts(high, w));
                w = TLanes.Repeat(a + 24);
                l6 = TLanes.Add16(l6, TLanes.PairProducts(low, w));
                h6 = TLanes.Add16(h6, TLanes.PairProducts(high, w));
                w = TLanes.Repeat(a + 28);
                l7 = TLanes.Add16(l7, TLanes.PairProducts(low, w));
                h7 = TLanes.Add16(h7, TLanes.PairProducts(high, w));
            }

            TVector scale = TLanes.Load((float*)(panel + PanelLayout.Scales));
            f0 = TLanes.MultiplyAdd(TLanes.ToFloat(TLanes.Add32(TLanes.Add32(TLanes.PairProducts16(l0, ones), TLanes.PairProducts16(h0, sixteens)), TLanes.Left32(TLanes.Repeat(offsets + 0), 4))), TLanes.Multiply(scale, TLanes.Broadcast(scales[0])), f0);
            f1 = TLanes.MultiplyAdd(TLanes.ToFloat(TLanes.Add32(TLanes.Add32(TLanes.PairProducts16(l1, ones), TLanes.PairProducts16(h1, sixteens)), TLanes.Left32(TLanes.Repeat(offsets + 4), 4))), TLanes.Multiply(scale, TLanes.Broadcast(scales[1])), f1);
            f2 = TLanes.MultiplyAdd(TLanes.ToFloat(TLanes.Add32(TLanes.Add32(TLanes.PairProducts16(l2, ones), TLanes.PairProducts16(h2, sixteens)), TLanes.Left32(TLanes.Repeat(offsets + 8), 4))), TLanes.Multiply(scale, TLanes.Broadcast(scales[2])), f2);
            f3 = TLanes.MultiplyAdd(TLanes.ToFloat(TLanes.Add32(TLanes.Add32(TLanes.PairProducts16(l3, ones), TLanes.PairProducts16(h3, sixteens)), TLanes.Left32(TLanes.Repeat(offsets + 12), 4))), TLanes.Multiply(scale, TLanes.Broadcast(scales[3])), f3);
            f4 = TLanes.MultiplyAdd(TLanes.ToFloat(TLanes.Add32(TLanes.Add32(TLanes.PairProducts16(l4, ones), TLanes.PairProducts16(h4, sixteens)), TLanes.Left32(TLanes.Repeat(offsets + 16), 4))), TLanes.Multiply(scale, TLanes.Broadcast(scales[4])), f4);
            f5 = TLanes.MultiplyAdd(TLanes.ToFloat(TLanes.Add32(TLanes.Add32(TLanes.PairProducts16(l5, ones), TLanes.PairProducts16(h5, sixteens)), TLanes.Left32(TLanes.Repeat(offsets + 20), 4))), TLanes.Multiply(scale, TLanes.Broadcast(scales[5])), f5);
            f6 = TLanes.MultiplyAdd(TLanes.ToFloat(TLanes.Add32(TLanes.Add32(TLanes.PairProducts16(l6, ones), TLanes.PairProducts16(h6, sixteens)), TLanes.Left32(TLanes.Repeat(offsets + 24), 4))), TLanes.Multiply(scale, TLanes.Broadcast(scales[6])), f6);
            f7 = TLanes.MultiplyAdd(TLanes.ToFloat(TLanes.Add32(TLanes.Add32(TLanes.PairProducts16(l7, ones), TLanes.PairProducts16(h7, sixteens)), TLanes.Left32(TLanes.Repeat(offsets + 28), 4))), TLanes.Multiply(scale, TLanes.Broadcast(scales[7])), f7);
            if (hasMinimum)
            {
                scale = TLanes.Load((float*)(panel + PanelLayout.Minima));
                f0 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[0]), f0);
                f1 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[1]), f1);
                f2 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[2]), f2);
                f3 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[3]), f3);
                f4 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[4]), f4);
                f5 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[5]), f5);
                f6 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[6]), f6);
                f7 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[7]), f7);
            }
        }

        TLanes.Store(f0, results + (0 * 16));
        TLanes.Store(f1, results + (1 * 16));
        TLanes.Store(f2, results + (2 * 16));
        TLanes.Store(f3, results + (3 * 16));
        TLanes.Store(f4, results + (4 * 16));
        TLanes.Store(f5, results + (5 * 16));
        TLanes.Store(f6, results + (6 * 16));
        TLanes.Store(f7, results + (7 * 16));
    }

    /// <summary>Codes of at most 255 that stand for themselves less 128, as two nibbles, 4 tokens.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Bytes4(byte* panel, byte* x, int width, int runs, bool hasMinimum, float* results)
    {
        int group = 4 * width, step = 48 * width;
        TBytes sixteens = TLanes.Repeat(16);
        TBytes ones = TLanes.Repeat(1);
        TVector f0 = TLanes.Load(results + (0 * 16)), f1 = TLanes.Load(results + (1 * 16)), f2 = TLanes.Load(results + (2 * 16)), f3 = TLanes.Load(results + (3 * 16));
        for (; runs > 0; runs--, panel += PanelLayout.Bytes, x += step)
        {
            float* scales = (float*)(x + (8 * group)), sums = scales + width;
            byte* offsets = (byte*)(scales + (3 * width));
            TBytes l0 = TLanes.Zero, l1 = TLanes.Zero, l2 = TLanes.Zero, l3 = TLanes.Zero;
            TBytes h0 = TLanes.Zero, h1 = TLanes.Zero, h2 = TLanes.Zero, h3 = TLanes.Zero;
            byte* codes = panel, a = x;
            for (int g = 0; g < 8; g++, codes += 64, a += group)
            {
                TBytes w = TLanes.Load(codes), low = TLanes.Bits(w, 0, 15), high = TLanes.Bits(w, 4, 15);
                w = TLanes.Repeat(a + 0);
                l0 = TLanes.Add16(l0, TLanes.PairProducts(low, w));
                h0 = TLanes.Add16(h0, TLanes.PairProducts(high, w));
                w = TLanes.Repeat(a + 4);
                l1 = TLanes.Add16(l1, TLanes.PairProducts(low, w));
                h1 = TLanes.Add16(h1, TLanes.PairProducts(high, w));
                w = TLanes.Repeat(a + 8);
                l2 = TLanes.Add16(l2, TLanes.PairProducts(low, w));
                h2 = TLanes.Add16(h2, TLanes.PairProducts(high, w));
                w = TLanes.Repeat(a + 12);
                l3 = TLanes.Add16(l3, TLanes.PairProducts(low, w));
                h3 = TLanes.Add16(h3, TLanes.PairProducts(high, w));
            }

            TVector scale = TLanes.Load((float*)(panel + PanelLayout.Scales));
            f0 = TLanes.MultiplyAdd(TLanes.ToFloat(TLanes.Add32(TLanes.Add32(TLanes.PairProducts16(l0, ones), TLanes.PairProducts16(h0, sixteens)), TLanes.Left32(TLanes.Repeat(offsets + 0), 4))), TLanes.Multiply(scale, TLanes.Broadcast(scales[0])), f0);
            f1 = TLanes.MultiplyAdd(TLanes.ToFloat(TLanes.Add32(TLanes.Add32(TLanes.PairProducts16(l1, ones), TLanes.PairProducts16(h1, sixteens)), TLanes.Left32(TLanes.Repeat(offsets + 4), 4))), TLanes.Multiply(scale, TLanes.Broadcast(scales[1])), f1);
            f2 = TLanes.MultiplyAdd(TLanes.ToFloat(TLanes.Add32(TLanes.Add32(TLanes.PairProducts16(l2, ones), TLanes.PairProducts16(h2, sixteens)), TLanes.Left32(TLanes.Repeat(offsets + 8), 4))), TLanes.Multiply(scale, TLanes.Broadcast(scales[2])), f2);
            f3 = TLanes.MultiplyAdd(TLanes.ToFloat(TLanes.Add32(TLanes.Add32(TLanes.PairProducts16(l3, ones), TLanes.PairProducts16(h3, sixteens)), TLanes.Left32(TLanes.Repeat(offsets + 12), 4))), TLanes.Multiply(scale, TLanes.Broadcast(scales[3])), f3);
            if (hasMinimum)
            {
                scale = TLanes.Load((float*)(panel + PanelLayout.Minima));
                f0 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[0]), f0);
                f1 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[1]), f1);
                f2 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[2]), f2);
                f3 = TLanes.MultiplyAdd(scale, TLanes.Broadcast(sums[3]), f3);
            }
        }

        TLanes.Store(f0, results + (0 * 16));
        TLanes.Store(f1, results + (1 * 16));
        TLanes.Store(f2, results + (2 * 16));
        TLanes.Store(f3, results + (3 * 16));
    }
}
