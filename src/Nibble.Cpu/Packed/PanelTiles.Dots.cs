using System.Runtime.CompilerServices;

namespace Nibble.Cpu.Packed;

/// <content>Tiles whose products are summed in 32 bits at once: four products at a time, or groups with whole scales.</content>
internal static unsafe partial class PanelTiles<TLanes, TBytes, TVector>
{
    /// <summary>Codes of at most 255, 8 tokens, with an instruction for four products.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Dots8(byte* panel, byte* x, int width, int runs, bool hasMinimum, bool hasOffset, float* results)
    {
        int group = 4 * width, step = 48 * width;
        TVector f0 = TLanes.Load(results + (0 * 16)), f1 = TLanes.Load(results + (1 * 16)), f2 = TLanes.Load(results + (2 * 16)), f3 = TLanes.Load(results + (3 * 16)), f4 = TLanes.Load(results + (4 * 16)), f5 = TLanes.Load(results + (5 * 16)), f6 = TLanes.Load(results + (6 * 16)), f7 = TLanes.Load(results + (7 * 16));
        for (; runs > 0; runs--, panel += PanelLayout.Bytes, x += step)
        {
            float* scales = (float*)(x + (8 * group)), sums = scales + width;
            byte* offsets = (byte*)(scales + (3 * width));
            TBytes i0 = hasOffset ? TLanes.Offset(offsets + 0) : TLanes.Zero, i1 = hasOffset ? TLanes.Offset(offsets + 4) : TLanes.Zero, i2 = hasOffset ? TLanes.Offset(offsets + 8) : TLanes.Zero, i3 = hasOffset ? TLanes.Offset(offsets + 12) : TLanes.Zero, i4 = hasOffset ? TLanes.Offset(offsets + 16) : TLanes.Zero, i5 = hasOffset ? TLanes.Offset(offsets + 20) : TLanes.Zero, i6 = hasOffset ? TLanes.Offset(offsets + 24) : TLanes.Zero, i7 = hasOffset ? TLanes.Offset(offsets + 28) : TLanes.Zero;
            byte* codes = panel, a = x;
            for (int g = 0; g < 8; g++, codes += 64, a += group)
            {
                TBytes w = TLanes.Load(codes);
                if (hasOffset) w = TLanes.Centre(w);
                i0 = TLanes.Dot(i0, w, TLanes.Repeat(a + 0));
                i1 = TLanes.Dot(i1, w, TLanes.Repeat(a + 4));
                i2 = TLanes.Dot(i2, w, TLanes.Repeat(a + 8));
                i3 = TLanes.Dot(i3, w, TLanes.Repeat(a + 12));
                i4 = TLanes.Dot(i4, w, TLanes.Repeat(a + 16));
                i5 = TLanes.Dot(i5, w, TLanes.Repeat(a + 20));
                i6 = TLanes.Dot(i6, w, TLanes.Repeat(a + 24));
                i7 = TLanes.Dot(i7, w, TLanes.Repeat(a + 28));
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

    /// <summary>Codes of at most 255, 4 tokens, with an instruction for four products.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Dots4(byte* panel, byte* x, int width, int runs, bool hasMinimum, bool hasOffset, float* results)
    {
        int group = 4 * width, step = 48 * width;
        TVector f0 = TLanes.Load(results + (0 * 16)), f1 = TLanes.Load(results + (1 * 16)), f2 = TLanes.Load(results + (2 * 16)), f3 = TLanes.Load(results + (3 * 16));
        for (; runs > 0; runs--, panel += PanelLayout.Bytes, x += step)
        {
            float* scales = (float*)(x + (8 * group)), sums = scales + width;
            byte* offsets = (byte*)(scales + (3 * width));
            TBytes i0 = hasOffset ? TLanes.Offset(offsets + 0) : TLanes.Zero, i1 = hasOffset ? TLanes.Offset(offsets + 4) : TLanes.Zero, i2 = hasOffset ? TLanes.Offset(offsets + 8) : TLanes.Zero, i3 = hasOffset ? TLanes.Offset(offsets + 12) : TLanes.Zero;
            byte* codes = panel, a = x;
            for (int g = 0; g < 8; g++, codes += 64, a += group)
            {
                TBytes w = TLanes.Load(codes);
                if (hasOffset) w = TLanes.Centre(w);
                i0 = TLanes.Dot(i0, w, TLanes.Repeat(a + 0));
                i1 = TLanes.Dot(i1, w, TLanes.Repeat(a + 4));
                i2 = TLanes.Dot(i2, w, TLanes.Repeat(a + 8));
                i3 = TLanes.Dot(i3, w, TLanes.Repeat(a + 12));
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
