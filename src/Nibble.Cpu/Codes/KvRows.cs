using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Nibble.Core.Formats;

namespace Nibble.Cpu.Codes;

/// <summary>Keys and values of a cache, with the bits of <see cref="BlockFormat.Encode"/>.</summary>
internal static unsafe class KvRows
{
    /// <summary>Encodes values.</summary>
    /// <param name="format">One of <see cref="Core.Compute.KvCache.Formats"/>.</param>
    /// <param name="x">[count].</param>
    /// <param name="count">A whole number of blocks.</param>
    /// <param name="row">The bytes, overwritten; any address.</param>
    public static void Encode(BlockFormat format, float* x, int count, byte* row)
    {
        if (ReferenceEquals(format, BlockFormats.Q8_0)) EncodeQ8_0(x, count, row);
        else format.Encode(new ReadOnlySpan<float>(x, count), new Span<byte>(row, checked((int)format.RowBytes(count))));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void EncodeQ8_0(float* x, int count, byte* row)
    {
        for (float* end = x + count; x < end; x += 32, row += 34)
        {
            Vector256<float> a = Vector256.Load(x), b = Vector256.Load(x + 8), c = Vector256.Load(x + 16), d = Vector256.Load(x + 24);
            Vector256<float> largest = Vector256.Max(Vector256.Max(Vector256.Abs(a), Vector256.Abs(b)), Vector256.Max(Vector256.Abs(c), Vector256.Abs(d)));
            Vector128<float> four = Vector128.Max(largest.GetLower(), largest.GetUpper());
            float magnitude = MathF.Max(MathF.Max(four[0], four[1]), MathF.Max(four[2], four[3]));
            float scale = magnitude / 127, inverse = 1 / scale;
            if (!float.IsFinite(magnitude) || !float.IsFinite(inverse))
            {
                // Zeros, values too small for a scale, NaN and infinity: rare, so the readable encoder decides.
                Q8_0.Encode(new ReadOnlySpan<float>(x, 32), out Unsafe.AsRef<Q8_0>(row));
                continue;
            }

            Unsafe.WriteUnaligned(row, BitConverter.HalfToUInt16Bits(HalfConversion.ToHalf(scale)));
            Vector256<float> factor = Vector256.Create(inverse);
            Vector256<short> low = Vector256.Narrow(Nearest(a * factor), Nearest(b * factor)), high = Vector256.Narrow(Nearest(c * factor), Nearest(d * factor));
            Vector256.Narrow(low, high).Store((sbyte*)row + 2);
        }
    }

    // Halves go away from zero: what was cut off is exact, and where it is half or more the value moves one further.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> Nearest(Vector256<float> value)
    {
        Vector256<float> whole = Vector256.Truncate(value), cut = Vector256.Abs(value - whole);
        Vector256<float> sign = value & Vector256.Create(-0f);
        Vector256<float> one = Vector256.GreaterThanOrEqual(cut, Vector256.Create(0.5f)) & Vector256.Create(1f);
        return Vector256.ConvertToInt32Native(whole + (one | sign));
    }
}
