using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace Nibble.Cpu.Kernels;

/// <summary>Sums of 16 float32 lanes by one fixed tree, so that a sum has the same bits on every instruction path.</summary>
/// <remarks>Lane i takes i + 8, then i + 4, then i + 2, then i + 1.</remarks>
internal static unsafe class Lanes16
{
    /// <summary>The sum of 16 lanes.</summary>
    /// <param name="lanes">[16].</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(float* lanes)
    {
        Vector128<float> four = Four(lanes);
        return four.GetElement(0) + four.GetElement(2) + (four.GetElement(1) + four.GetElement(3));
    }

    /// <summary>The sums of four times 16 lanes.</summary>
    /// <param name="lanes">[4 x 16].</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Sum4(float* lanes)
    {
        return Sum4(Four(lanes), Four(lanes + 16), Four(lanes + 32), Four(lanes + 48));
    }

    /// <summary>The sums of four vectors.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Sum4(Vector512<float> a, Vector512<float> b, Vector512<float> c, Vector512<float> d) =>
        Sum4(a.GetLower() + a.GetUpper(), b.GetLower() + b.GetUpper(), c.GetLower() + c.GetUpper(), d.GetLower() + d.GetUpper());

    /// <summary>The sums of four vectors.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Sum4(Vector256<float> a, Vector256<float> b, Vector256<float> c, Vector256<float> d) =>
        Sum4(a.GetLower() + a.GetUpper(), b.GetLower() + b.GetUpper(), c.GetLower() + c.GetUpper(), d.GetLower() + d.GetUpper());

    /// <summary>The sums of four vectors.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Sum4(Vector128<float> a, Vector128<float> b, Vector128<float> c, Vector128<float> d)
    {
        Transpose(ref a, ref b, ref c, ref d);
        return a + c + (b + d);
    }

    /// <summary>Turns four rows of four into columns.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Transpose(ref Vector128<float> a, ref Vector128<float> b, ref Vector128<float> c, ref Vector128<float> d)
    {
        if (Sse.IsSupported)
        {
            Vector128<float> abLow = Sse.UnpackLow(a, b), abHigh = Sse.UnpackHigh(a, b); // a0 b0 a1 b1, a2 b2 a3 b3
            Vector128<float> cdLow = Sse.UnpackLow(c, d), cdHigh = Sse.UnpackHigh(c, d);
            a = Sse.MoveLowToHigh(abLow, cdLow);
            b = Sse.MoveHighToLow(cdLow, abLow);
            c = Sse.MoveLowToHigh(abHigh, cdHigh);
            d = Sse.MoveHighToLow(cdHigh, abHigh);
        }
        else if (AdvSimd.Arm64.IsSupported)
        {
            Vector128<float> acLow = AdvSimd.Arm64.ZipLow(a, c), acHigh = AdvSimd.Arm64.ZipHigh(a, c); // a0 c0 a1 c1, a2 c2 a3 c3
            Vector128<float> bdLow = AdvSimd.Arm64.ZipLow(b, d), bdHigh = AdvSimd.Arm64.ZipHigh(b, d);
            a = AdvSimd.Arm64.ZipLow(acLow, bdLow);
            b = AdvSimd.Arm64.ZipHigh(acLow, bdLow);
            c = AdvSimd.Arm64.ZipLow(acHigh, bdHigh);
            d = AdvSimd.Arm64.ZipHigh(acHigh, bdHigh);
        }
        else
        {
            Vector128<float> a0 = a, b0 = b, c0 = c, d0 = d;
            a = Vector128.Create(a0[0], b0[0], c0[0], d0[0]);
            b = Vector128.Create(a0[1], b0[1], c0[1], d0[1]);
            c = Vector128.Create(a0[2], b0[2], c0[2], d0[2]);
            d = Vector128.Create(a0[3], b0[3], c0[3], d0[3]);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Four(float* lanes) =>
        Vector128.Load(lanes) + Vector128.Load(lanes + 8) + (Vector128.Load(lanes + 4) + Vector128.Load(lanes + 12));
}
