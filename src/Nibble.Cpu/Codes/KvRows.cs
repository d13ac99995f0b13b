using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Nibble.Core.Formats;

namespace Nibble.Cpu.Codes;

/// <summary>Keys and values of a cache, with the bits of <see cref="BlockFormat.Encode"/> and <see cref="BlockFormat.Decode"/>.</summary>
internal static unsafe class KvRows
{
    /// <summary>Encodes values.</summary>
    /// <param name="format">F32, F16 or Q8_0.</param>
    /// <param name="x">[count].</param>
    /// <param name="count">A whole number of blocks.</param>
    /// <param name="row">The bytes, overwritten; any address.</param>
    public static void Encode(BlockFormat format, float* x, int count, byte* row)
    {
        if (ReferenceEquals(format, BlockFormats.Q8_0)) EncodeQ8_0(x, count, row);
        else format.Encode(new ReadOnlySpan<float>(x, count), new Span<byte>(row, count * format.BlockBytes));
    }

    /// <summary>Decodes values.</summary>
    /// <param name="format">F32, F16 or Q8_0.</param>
    /// <param name="row">The bytes; any address.</param>
    /// <param name="count">A whole number of blocks.</param>
    /// <param name="x">[count], overwritten.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Decode(BlockFormat format, byte* row, int count, float* x)
    {
        if (ReferenceEquals(format, BlockFormats.F16)) DecodeF16(row, count, x);
        else if (ReferenceEquals(format, BlockFormats.Q8_0)) DecodeQ8_0(row, count, x);
        else new ReadOnlySpan<byte>(row, count * sizeof(float)).CopyTo(new Span<byte>(x, count * sizeof(float)));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void DecodeF16(byte* row, int count, float* x)
    {
        int i = 0;
        for (; i <= count - 16; i += 16)
        {
            (Vector256<uint> low, Vector256<uint> high) = Vector256.Widen(Vector256.Load((ushort*)row + i));
            HalfConversion.ToSingle(low).Store(x + i);
            HalfConversion.ToSingle(high).Store(x + i + 8);
        }

        for (; i < count; i++)
            x[i] = Bits.HalfAt(row + (2 * i));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void DecodeQ8_0(byte* row, int count, float* x)
    {
        for (float* end = x + count; x < end; x += 32, row += 34)
        {
            Vector256<float> d = Vector256.Create(Bits.HalfAt(row));
            (Vector256<short> low, Vector256<short> high) = Vector256.Widen(Vector256.Load((sbyte*)row + 2));
            (Vector256<int> a, Vector256<int> b) = Vector256.Widen(low);
            (Vector256<int> c, Vector256<int> e) = Vector256.Widen(high);
            (d * Vector256.ConvertToSingle(a)).Store(x);
            (d * Vector256.ConvertToSingle(b)).Store(x + 8);
            (d * Vector256.ConvertToSingle(c)).Store(x + 16);
            (d * Vector256.ConvertToSingle(e)).Store(x + 24);
        }
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
