using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Nibble.Core.Compute;

namespace Nibble.Cpu.Kernels;

/// <summary>Activations rounded as <see cref="InputRounding"/> says, eight at a time, with the same bits.</summary>
internal static unsafe class InputRows
{
    /// <summary>Rounds.</summary>
    /// <param name="x">[count].</param>
    /// <param name="count">Values.</param>
    /// <param name="scale">The scale.</param>
    /// <param name="y">[count], overwritten; may be <paramref name="x"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Round(float* x, int count, float scale, float* y)
    {
        Vector256<float> scales = Vector256.Create(scale), inverse = Vector256.Create(1 / scale);
        int i = 0;
        for (; i <= count - 8; i += 8)
        {
            Vector256<float> values = Vector256.Load(x + i);
            Vector256<float> finite = Vector256.LessThan(Vector256.Abs(values), Vector256.Create(float.PositiveInfinity));
            Vector256.ConditionalSelect(finite, scales * Nearest(values * inverse), Vector256.Create(float.NaN)).Store(y + i);
        }

        if (i < count) InputRounding.Round(new ReadOnlySpan<float>(x + i, count - i), scale, new Span<float>(y + i, count - i));
    }

    /// <summary>The nearest whole numbers, ties to even, clipped.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Nearest(Vector256<float> multiples) =>
        Vector256.Min(Vector256.Max(Vector256.Round(multiples), Vector256.Create((float)-InputRounding.Most)), Vector256.Create((float)InputRounding.Most));
}
