using System.Runtime.CompilerServices;

namespace Nibble.Cpu.Packed;

/// <content>Tiles whose products are summed in 32 bits at once: four products at a time, or groups with whole scales.</content>
internal static unsafe partial class PanelTiles<TLanes, TBytes, TVector>
{
    /// <summary>Codes of at most 255, 4 tokens and the rows of two vectors, with an instruction for four products: eight sums at a time, for each of these instructions waits five cycles for the one before it.</summary>
    /// <remarks>With the dots of both vectors summed in 512 bits it does 188 instead of 171 GMAC/s on a Zen 5 core, whose two multipliers take a float32 product as they take a dot.</remarks>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Dots4(CodeKind kind, byte* panel, byte* x, int width, int runs, bool hasMinimum, float* results)
    {
        int group = 4 * width, step = 48 * width, other = TLanes.Count, row = TLanes.Count / 4;
        bool isBytes = kind == CodeKind.Bytes, isFiveBits = kind == CodeKind.FiveBits;
        for (; runs > 0; runs--, panel += PanelLayout.Bytes, x += step)
        {
            float* scales = (float*)(x + (8 * group)), sums = scales + width;
            byte* offsets = (byte*)(scales + (3 * width));
            TBytes i0 = TLanes.Zero, i1 = TLanes.Zero, i2 = TLanes.Zero, i3 = TLanes.Zero;
            if (isBytes) (i0, i1, i2, i3) = (TLanes.Offset(offsets), TLanes.Offset(offsets + 4), TLanes.Offset(offsets + 8), TLanes.Offset(offsets + 12));
            else if (!hasMinimum) (i0, i1, i2, i3) = (TLanes.Repeat(offsets), TLanes.Repeat(offsets + 4), TLanes.Repeat(offsets + 8), TLanes.Repeat(offsets + 12));
            if (isFiveBits) (i0, i1, i2, i3) = (TLanes.Left32(i0, 1), TLanes.Left32(i1, 1), TLanes.Left32(i2, 1), TLanes.Left32(i3, 1));
            TBytes j0 = i0, j1 = i1, j2 = i2, j3 = i3;
            byte* codes = panel, a = x;
            for (int g = 0; g < 8; g++, codes += 64, a += group)
            {
                TBytes v = TLanes.Load(codes), w = TLanes.Load(codes + other), token = TLanes.Repeat(a);
                if (isBytes) (v, w) = (TLanes.Centre(v), TLanes.Centre(w));
                i0 = TLanes.Dot(i0, v, token);
                j0 = TLanes.Dot(j0, w, token);
                token = TLanes.Repeat(a + 4);
                i1 = TLanes.Dot(i1, v, token);
                j1 = TLanes.Dot(j1, w, token);
                token = TLanes.Repeat(a + 8);
                i2 = TLanes.Dot(i2, v, token);
                j2 = TLanes.Dot(j2, w, token);
                token = TLanes.Repeat(a + 12);
                i3 = TLanes.Dot(i3, v, token);
                j3 = TLanes.Dot(j3, w, token);
            }

            if (TLanes.HasWideSums)
            {
                float* rows = (float*)(panel + PanelLayout.Scales), minima = hasMinimum ? (float*)(panel + PanelLayout.Minima) : null;
                TLanes.AddWide(i0, j0, rows, minima, scales[0], sums[0], results);
                TLanes.AddWide(i1, j1, rows, minima, scales[1], sums[1], results + 16);
                TLanes.AddWide(i2, j2, rows, minima, scales[2], sums[2], results + 32);
                TLanes.AddWide(i3, j3, rows, minima, scales[3], sums[3], results + 48);
                continue;
            }

            TVector scale = TLanes.Load((float*)(panel + PanelLayout.Scales)), minimum = hasMinimum ? TLanes.Load((float*)(panel + PanelLayout.Minima)) : TLanes.Broadcast(0);
            AddRun(i0, scale, minimum, hasMinimum, scales, sums, results);
            AddRun(i1, scale, minimum, hasMinimum, scales + 1, sums + 1, results + 16);
            AddRun(i2, scale, minimum, hasMinimum, scales + 2, sums + 2, results + 32);
            AddRun(i3, scale, minimum, hasMinimum, scales + 3, sums + 3, results + 48);
            scale = TLanes.Load((float*)(panel + PanelLayout.Scales + other));
            if (hasMinimum) minimum = TLanes.Load((float*)(panel + PanelLayout.Minima + other));
            AddRun(j0, scale, minimum, hasMinimum, scales, sums, results + row);
            AddRun(j1, scale, minimum, hasMinimum, scales + 1, sums + 1, results + row + 16);
            AddRun(j2, scale, minimum, hasMinimum, scales + 2, sums + 2, results + row + 32);
            AddRun(j3, scale, minimum, hasMinimum, scales + 3, sums + 3, results + row + 48);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void AddRun(TBytes dots, TVector scale, TVector minimum, bool hasMinimum, float* tokenScale, float* tokenSum, float* results)
    {
        TVector sum = TLanes.MultiplyAdd(TLanes.ToFloat(dots), TLanes.Multiply(scale, TLanes.Broadcast(*tokenScale)), TLanes.Load(results));
        if (hasMinimum) sum = TLanes.MultiplyAdd(minimum, TLanes.Broadcast(*tokenSum), sum);
        TLanes.Store(sum, results);
    }

    /// <summary>As <see cref="Dots4"/>, 8 tokens: 16 sums, for vectors that come with 32 registers, 188 to 194 GMAC/s.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Dots8(CodeKind kind, byte* panel, byte* x, int width, int runs, bool hasMinimum, float* results)
    {
        int group = 4 * width, step = 48 * width, other = TLanes.Count;
        bool isBytes = kind == CodeKind.Bytes, isFiveBits = kind == CodeKind.FiveBits;
        for (; runs > 0; runs--, panel += PanelLayout.Bytes, x += step)
        {
            float* scales = (float*)(x + (8 * group)), sums = scales + width;
            byte* offsets = (byte*)(scales + (3 * width));
            TBytes i0 = TLanes.Zero, i1 = TLanes.Zero, i2 = TLanes.Zero, i3 = TLanes.Zero, i4 = TLanes.Zero, i5 = TLanes.Zero, i6 = TLanes.Zero, i7 = TLanes.Zero;
            if (isBytes) (i0, i1, i2, i3, i4, i5, i6, i7) = (TLanes.Offset(offsets + 0), TLanes.Offset(offsets + 4), TLanes.Offset(offsets + 8), TLanes.Offset(offsets + 12), TLanes.Offset(offsets + 16), TLanes.Offset(offsets + 20), TLanes.Offset(offsets + 24), TLanes.Offset(offsets + 28));
            else if (!hasMinimum) (i0, i1, i2, i3, i4, i5, i6, i7) = (TLanes.Repeat(offsets + 0), TLanes.Repeat(offsets + 4), TLanes.Repeat(offsets + 8), TLanes.Repeat(offsets + 12), TLanes.Repeat(offsets + 16), TLanes.Repeat(offsets + 20), TLanes.Repeat(offsets + 24), TLanes.Repeat(offsets + 28));
            if (isFiveBits) (i0, i1, i2, i3, i4, i5, i6, i7) = (TLanes.Left32(i0, 1), TLanes.Left32(i1, 1), TLanes.Left32(i2, 1), TLanes.Left32(i3, 1), TLanes.Left32(i4, 1), TLanes.Left32(i5, 1), TLanes.Left32(i6, 1), TLanes.Left32(i7, 1));
            TBytes j0 = i0, j1 = i1, j2 = i2, j3 = i3, j4 = i4, j5 = i5, j6 = i6, j7 = i7;
            byte* codes = panel, a = x;
            for (int g = 0; g < 8; g++, codes += 64, a += group)
            {
                TBytes v = TLanes.Load(codes), w = TLanes.Load(codes + other), token = TLanes.Repeat(a);
                if (isBytes) (v, w) = (TLanes.Centre(v), TLanes.Centre(w));
                i0 = TLanes.Dot(i0, v, token);
                j0 = TLanes.Dot(j0, w, token);
                token = TLanes.Repeat(a + 4);
                i1 = TLanes.Dot(i1, v, token);
                j1 = TLanes.Dot(j1, w, token);
                token = TLanes.Repeat(a + 8);
                i2 = TLanes.Dot(i2, v, token);
                j2 = TLanes.Dot(j2, w, token);
                token = TLanes.Repeat(a + 12);
                i3 = TLanes.Dot(i3, v, token);
                j3 = TLanes.Dot(j3, w, token);
                token = TLanes.Repeat(a + 16);
                i4 = TLanes.Dot(i4, v, token);
                j4 = TLanes.Dot(j4, w, token);
                token = TLanes.Repeat(a + 20);
                i5 = TLanes.Dot(i5, v, token);
                j5 = TLanes.Dot(j5, w, token);
                token = TLanes.Repeat(a + 24);
                i6 = TLanes.Dot(i6, v, token);
                j6 = TLanes.Dot(j6, w, token);
                token = TLanes.Repeat(a + 28);
                i7 = TLanes.Dot(i7, v, token);
                j7 = TLanes.Dot(j7, w, token);
            }

            float* rows = (float*)(panel + PanelLayout.Scales), minima = hasMinimum ? (float*)(panel + PanelLayout.Minima) : null;
            TLanes.AddWide(i0, j0, rows, minima, scales[0], sums[0], results + (0 * 16));
            TLanes.AddWide(i1, j1, rows, minima, scales[1], sums[1], results + (1 * 16));
            TLanes.AddWide(i2, j2, rows, minima, scales[2], sums[2], results + (2 * 16));
            TLanes.AddWide(i3, j3, rows, minima, scales[3], sums[3], results + (3 * 16));
            TLanes.AddWide(i4, j4, rows, minima, scales[4], sums[4], results + (4 * 16));
            TLanes.AddWide(i5, j5, rows, minima, scales[5], sums[5], results + (5 * 16));
            TLanes.AddWide(i6, j6, rows, minima, scales[6], sums[6], results + (6 * 16));
            TLanes.AddWide(i7, j7, rows, minima, scales[7], sums[7], results + (7 * 16));
        }
    }

    /// <summary>Codes of at most 63 with whole scales and minima per 16, 8 tokens.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Groups8(byte* panel, byte* x, int width, int runs, bool hasMinimum, float* results)
    {
        int group = 4 * width, step = 48 * width;
        TVector f0 = TLanes.Load(results + (0 * 16)), f1 = TLanes.Load(results + (1 * 16)), f2 = TLanes.Load(results + (2 * 16)), f3 = TLanes.Load(results + (3 * 16)), f4 = TLanes.Load(results + (4 * 16)), f5 = TLanes.Load(results + (5 * 16)), f6 = TLanes.Load(results + (6 * 16)), f7 = TLanes.Load(results + (7 * 16));
        for (; runs > 0; runs--, panel += PanelLayout.Bytes, x += step)
        {
            float* scales = (float*)(x + (8 * group)), sums = scales + width;
            byte* pairs = (byte*)(scales + (2 * width));
            TBytes w0 = TLanes.Load(panel + PanelLayout.GroupMinima);
            TBytes i0 = TLanes.PairProducts16(w0, TLanes.Repeat(pairs + 0)), i1 = TLanes.PairProducts16(w0, TLanes.Repeat(pairs + 4)), i2 = TLanes.PairProducts16(w0, TLanes.Repeat(pairs + 8)), i3 = TLanes.PairProducts16(w0, TLanes.Repeat(pairs + 12)), i4 = TLanes.PairProducts16(w0, TLanes.Repeat(pairs + 16)), i5 = TLanes.PairProducts16(w0, TLanes.Repeat(pairs + 20)), i6 = TLanes.PairProducts16(w0, TLanes.Repeat(pairs + 24)), i7 = TLanes.PairProducts16(w0, TLanes.Repeat(pairs + 28));
            if (hasMinimum)
            {
                TVector minimum = TLanes.Load((float*)(panel + PanelLayout.Minima));
                f0 = TLanes.MultiplyAdd(TLanes.ToFloat(i0), TLanes.Multiply(minimum, TLanes.Broadcast(scales[0])), f0);
                i0 = TLanes.Zero;
                f1 = TLanes.MultiplyAdd(TLanes.ToFloat(i1), TLanes.Multiply(minimum, TLanes.Broadcast(scales[1])), f1);
                i1 = TLanes.Zero;
                f2 = TLanes.MultiplyAdd(TLanes.ToFloat(i2), TLanes.Multiply(minimum, TLanes.Broadcast(scales[2])), f2);
                i2 = TLanes.Zero;
                f3 = TLanes.MultiplyAdd(TLanes.ToFloat(i3), TLanes.Multiply(minimum, TLanes.Broadcast(scales[3])), f3);
                i3 = TLanes.Zero;
                f4 = TLanes.MultiplyAdd(TLanes.ToFloat(i4), TLanes.Multiply(minimum, TLanes.Broadcast(scales[4])), f4);
                i4 = TLanes.Zero;
                f5 = TLanes.MultiplyAdd(TLanes.ToFloat(i5), TLanes.Multiply(minimum, TLanes.Broadcast(scales[5])), f5);
                i5 = TLanes.Zero;
                f6 = TLanes.MultiplyAdd(TLanes.ToFloat(i6), TLanes.Multiply(minimum, TLanes.Broadcast(scales[6])), f6);
                i6 = TLanes.Zero;
                f7 = TLanes.MultiplyAdd(TLanes.ToFloat(i7), TLanes.Multiply(minimum, TLanes.Broadcast(scales[7])), f7);
                i7 = TLanes.Zero;
            }

            byte* codes = panel, a = x;
            for (int sixteen = 0; sixteen < 2; sixteen++)
            {
                TBytes s = TLanes.Load(panel + PanelLayout.GroupScales + (64 * sixteen));
                for (int g = 0; g < 2; g++, codes += 128, a += 2 * group)
                {
                    w0 = TLanes.Load(codes);
                    TBytes w1 = TLanes.Load(codes + 64);
                    i0 = TLanes.Add32(i0, TLanes.PairProducts16(TLanes.Add16(TLanes.PairProducts(w0, TLanes.Repeat(a + 0)), TLanes.PairProducts(w1, TLanes.Repeat(a + group + 0))), s));
                    i1 = TLanes.Add32(i1, TLanes.PairProducts16(TLanes.Add16(TLanes.PairProducts(w0, TLanes.Repeat(a + 4)), TLanes.PairProducts(w1, TLanes.Repeat(a + group + 4))), s));
                    i2 = TLanes.Add32(i2, TLanes.PairProducts16(TLanes.Add16(TLanes.PairProducts(w0, TLanes.Repeat(a + 8)), TLanes.PairProducts(w1, TLanes.Repeat(a + group + 8))), s));
                    i3 = TLanes.Add32(i3, TLanes.PairProducts16(TLanes.Add16(TLanes.PairProducts(w0, TLanes.Repeat(a + 12)), TLanes.PairProducts(w1, TLanes.Repeat(a + group + 12))), s));
                    i4 = TLanes.Add32(i4, TLanes.PairProducts16(TLanes.Add16(TLanes.PairProducts(w0, TLanes.Repeat(a + 16)), TLanes.PairProducts(w1, TLanes.Repeat(a + group + 16))), s));
                    i5 = TLanes.Add32(i5, TLanes.PairProducts16(TLanes.Add16(TLanes.PairProducts(w0, TLanes.Repeat(a + 20)), TLanes.PairProducts(w1, TLanes.Repeat(a + group + 20))), s));
                    i6 = TLanes.Add32(i6, TLanes.PairProducts16(TLanes.Add16(TLanes.PairProducts(w0, TLanes.Repeat(a + 24)), TLanes.PairProducts(w1, TLanes.Repeat(a + group + 24))), s));
                    i7 = TLanes.Add32(i7, TLanes.PairProducts16(TLanes.Add16(TLanes.PairProducts(w0, TLanes.Repeat(a + 28)), TLanes.PairProducts(w1, TLanes.Repeat(a + group + 28))), s));
                }
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

    /// <summary>Codes of at most 63 with whole scales and minima per 16, 4 tokens.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Groups4(byte* panel, byte* x, int width, int runs, bool hasMinimum, float* results)
    {
        int group = 4 * width, step = 48 * width;
        TVector f0 = TLanes.Load(results + (0 * 16)), f1 = TLanes.Load(results + (1 * 16)), f2 = TLanes.Load(results + (2 * 16)), f3 = TLanes.Load(results + (3 * 16));
        for (; runs > 0; runs--, panel += PanelLayout.Bytes, x += step)
        {
            float* scales = (float*)(x + (8 * group)), sums = scales + width;
            byte* pairs = (byte*)(scales + (2 * width));
            TBytes w0 = TLanes.Load(panel + PanelLayout.GroupMinima);
            TBytes i0 = TLanes.PairProducts16(w0, TLanes.Repeat(pairs + 0)), i1 = TLanes.PairProducts16(w0, TLanes.Repeat(pairs + 4)), i2 = TLanes.PairProducts16(w0, TLanes.Repeat(pairs + 8)), i3 = TLanes.PairProducts16(w0, TLanes.Repeat(pairs + 12));
            if (hasMinimum)
            {
                TVector minimum = TLanes.Load((float*)(panel + PanelLayout.Minima));
                f0 = TLanes.MultiplyAdd(TLanes.ToFloat(i0), TLanes.Multiply(minimum, TLanes.Broadcast(scales[0])), f0);
                i0 = TLanes.Zero;
                f1 = TLanes.MultiplyAdd(TLanes.ToFloat(i1), TLanes.Multiply(minimum, TLanes.Broadcast(scales[1])), f1);
                i1 = TLanes.Zero;
                f2 = TLanes.MultiplyAdd(TLanes.ToFloat(i2), TLanes.Multiply(minimum, TLanes.Broadcast(scales[2])), f2);
                i2 = TLanes.Zero;
                f3 = TLanes.MultiplyAdd(TLanes.ToFloat(i3), TLanes.Multiply(minimum, TLanes.Broadcast(scales[3])), f3);
                i3 = TLanes.Zero;
            }

            byte* codes = panel, a = x;
            for (int sixteen = 0; sixteen < 2; sixteen++)
            {
                TBytes s = TLanes.Load(panel + PanelLayout.GroupScales + (64 * sixteen));
                for (int g = 0; g < 2; g++, codes += 128, a += 2 * group)
                {
                    w0 = TLanes.Load(codes);
                    TBytes w1 = TLanes.Load(codes + 64);
                    i0 = TLanes.Add32(i0, TLanes.PairProducts16(TLanes.Add16(TLanes.PairProducts(w0, TLanes.Repeat(a + 0)), TLanes.PairProducts(w1, TLanes.Repeat(a + group + 0))), s));
                    i1 = TLanes.Add32(i1, TLanes.PairProducts16(TLanes.Add16(TLanes.PairProducts(w0, TLanes.Repeat(a + 4)), TLanes.PairProducts(w1, TLanes.Repeat(a + group + 4))), s));
                    i2 = TLanes.Add32(i2, TLanes.PairProducts16(TLanes.Add16(TLanes.PairProducts(w0, TLanes.Repeat(a + 8)), TLanes.PairProducts(w1, TLanes.Repeat(a + group + 8))), s));
                    i3 = TLanes.Add32(i3, TLanes.PairProducts16(TLanes.Add16(TLanes.PairProducts(w0, TLanes.Repeat(a + 12)), TLanes.PairProducts(w1, TLanes.Repeat(a + group + 12))), s));
                }
            }

            TVector scale = TLanes.Load((float*)(panel + PanelLayout.Scales));
            f0 = TLanes.MultiplyAdd(TLanes.ToFloat(i0), TLanes.Multiply(scale, TLanes.Broadcast(scales[0])), f0);
            f1 = TLanes.MultiplyAdd(TLanes.ToFloat(i1), TLanes.Multiply(scale, TLanes.Broadcast(scales[1])), f1);
            f2 = TLanes.MultiplyAdd(TLanes.ToFloat(i2), TLanes.Multiply(scale, TLanes.Broadcast(scales[2])), f2);
            f3 = TLanes.MultiplyAdd(TLanes.ToFloat(i3), TLanes.Multiply(scale, TLanes.Broadcast(scales[3])), f3);
        }

        TLanes.Store(f0, results + (0 * 16));
        TLanes.Store(f1, results + (1 * 16));
        TLanes.Store(f2, results + (2 * 16));
        TLanes.Store(f3, results + (3 * 16));
    }
}
