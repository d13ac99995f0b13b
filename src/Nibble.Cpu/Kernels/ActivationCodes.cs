using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Nibble.Cpu.Kernels;

/// <summary>Activations as 8-bit codes: a scale per 32 columns, largest magnitude / 127.</summary>
internal static unsafe class ActivationCodes
{
    /// <summary>
    /// codes = x / scale to the nearest, ties to even, at most 127. 32 values of which one is NaN or infinite get codes 0 and a scale of NaN,
    /// so that every product with them is NaN; values below 2^-120 count as 0.
    /// </summary>
    /// <param name="x">[columns].</param>
    /// <param name="columns">A multiple of 32.</param>
    /// <param name="codes">[columns], overwritten.</param>
    /// <param name="scales">[columns / 32], overwritten.</param>
    /// <param name="sums">[columns / 16 rounded up to 16] scale times sum of 16 codes, overwritten; zero behind the last.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Encode(float* x, int columns, sbyte* codes, float* scales, float* sums)
    {
        int groups = MatMulInput.GroupsOf(columns);
        for (int i = columns / 16; i < groups; i++)
            sums[i] = 0;
        for (int left = columns; left > 0; left -= 32, x += 32, codes += 32, sums += 2, scales++)
        {
            Vector256<float> a = Vector256.Load(x), b = Vector256.Load(x + 8), c = Vector256.Load(x + 16), d = Vector256.Load(x + 24);
            Vector256<float> largest = Vector256.Max(Vector256.Max(Vector256.Abs(a), Vector256.Abs(b)), Vector256.Max(Vector256.Abs(c), Vector256.Abs(d)));
            Vector128<float> four = Vector128.Max(largest.GetLower(), largest.GetUpper());
            float magnitude = MathF.Max(MathF.Max(four[0], four[1]), MathF.Max(four[2], four[3]));
            if (!(magnitude >= 7.52316385e-37f) || float.IsPositiveInfinity(magnitude))
            {
                Vector256<sbyte>.Zero.Store(codes);
                scales[0] = float.IsFinite(magnitude) ? 0 : float.NaN;
                sums[0] = sums[1] = scales[0];
                continue;
            }

            float scale = magnitude / 127;
            Vector256<float> inverse = Vector256.Create(127 / magnitude);
            Vector256<short> low = Narrow(a * inverse, b * inverse), high = Narrow(c * inverse, d * inverse);
            Vector256.Narrow(low, high).Store(codes);
            scales[0] = scale;
            sums[0] = scale * Vector256.Sum(low);
            sums[1] = scale * Vector256.Sum(high);
        }
    }

    // 127 / magnitude times the magnitude is within two roundings of 127, so the nearest integer is at most 127.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<short> Narrow(Vector256<float> a, Vector256<float> b) =>
        Vector256.Narrow(Vector256.ConvertToInt32Native(Vector256.Round(a)), Vector256.ConvertToInt32Native(Vector256.Round(b)));
}
