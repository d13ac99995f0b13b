using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Nibble.Core.Formats;

/// <summary>
/// Blocks of random codes, for benchmarks and tests: every byte is random, save that the scales are such that the decoded values have a mean of about 0 and a given deviation. No encoder is
/// needed, and the blocks are the same for a seed on every platform.
/// </summary>
public static class RandomBlocks
{
    // What a float format draws at a time; a multiple of every block's values.
    private const int FloatValues = 1024;

    // The scales of blocks are spread evenly over 0.75 to 1.25 times their mean; this is the square root of the mean of the squares of 0.75 + n / 510 for n = 0 to 255.
    private const double ScaleSpread = 1.0104418;

    // Mean squares of the codes: of -8 to 7, of a signed 6-bit scale, and so on.
    private static readonly double Square4 = MeanSquare(-8, 7);
    private static readonly double Square6 = MeanSquare(-32, 31);
    private static readonly double SquareIq4 = MeanSquare(Codebooks.Iq4Nl);
    private static readonly double SquareE2M1 = MeanSquare(Codebooks.E2M1Doubled);

    private delegate void Scale<TBlock>(ref TBlock block, double unit, ulong bits);

    /// <summary>Fills blocks.</summary>
    /// <param name="format">Any format of <see cref="BlockFormats"/>.</param>
    /// <param name="blocks">[n x <see cref="BlockFormat.BlockBytes"/>], overwritten.</param>
    /// <param name="deviation">Standard deviation of the decoded values: positive, and in the reach of the format's scales.</param>
    /// <param name="seed">Seed.</param>
    /// <exception cref="ArgumentException">The length is no multiple of the block, or the deviation is not positive and finite.</exception>
    public static void Fill(BlockFormat format, Span<byte> blocks, double deviation, ulong seed)
    {
        ArgumentNullException.ThrowIfNull(format);
        if (blocks.Length % format.BlockBytes != 0)
            throw new ArgumentException($"blocks has {blocks.Length} bytes; {format} needs a multiple of {format.BlockBytes}.", nameof(blocks));
        if (!(deviation > 0) || !double.IsFinite(deviation))
            throw new ArgumentException($"deviation is {deviation}; it must be positive and finite.", nameof(deviation));
        SplitMix64 random = new(seed);
        if (format == BlockFormats.F32 || format == BlockFormats.F16 || format == BlockFormats.BF16)
        {
            FillFloats(format, blocks, deviation, ref random);
            return;
        }

        Span<byte> rest = blocks;
        for (; rest.Length >= sizeof(ulong); rest = rest[sizeof(ulong)..])
            BinaryPrimitives.WriteUInt64LittleEndian(rest, random.Next());
        ulong last = random.Next();
        for (int i = 0; i < rest.Length; i++, last >>= 8)
            rest[i] = (byte)last;
        SetScales(format, blocks, deviation, ref random);
    }

    private static void FillFloats(BlockFormat format, Span<byte> blocks, double deviation, ref SplitMix64 random)
    {
        float factor = (float)(deviation * Math.Sqrt(3) / 65536);
        Span<float> values = stackalloc float[FloatValues];
        while (blocks.Length > 0)
        {
            int count = Math.Min(FloatValues, blocks.Length / format.BlockBytes);
            for (int i = 0; i < count; i++)
                values[i] = random.NextNormal() * factor;
            format.Encode(values[..count], blocks[..(count * format.BlockBytes)]);
            blocks = blocks[(count * format.BlockBytes)..];
        }
    }

    // A format's first number is the deviation of its values where d is 1 (root mean square of its codes); codes that do not balance around 0 do so over blocks, by the scale's sign.
    private static void SetScales(BlockFormat format, Span<byte> blocks, double deviation, ref SplitMix64 random)
    {
        switch (format.Name)
        {
            case nameof(Q4_0):
                Set(blocks, deviation, Math.Sqrt(Square4), ref random, static (ref Q4_0 block, double unit, ulong bits) => block.D = Signed(unit, bits));
                break;
            case nameof(Q4_1):
                Set(blocks, deviation, Math.Sqrt(Square4 - 0.25), ref random, static (ref Q4_1 block, double unit, ulong bits) =>
                {
                    block.D = Positive(unit, bits);
                    block.M = (Half)(-7.5 * (double)block.D);
                });
                break;
            case nameof(Q5_0):
                Set(blocks, deviation, Math.Sqrt(MeanSquare(-16, 15)), ref random, static (ref Q5_0 block, double unit, ulong bits) => block.D = Signed(unit, bits));
                break;
            case nameof(Q5_1):
                Set(blocks, deviation, Math.Sqrt(MeanSquare(-16, 15) - 0.25), ref random, static (ref Q5_1 block, double unit, ulong bits) =>
                {
                    block.D = Positive(unit, bits);
                    block.M = (Half)(-15.5 * (double)block.D);
                });
                break;
            case nameof(Q8_0):
                Set(blocks, deviation, Math.Sqrt(MeanSquare(-127, 127)), ref random, static (ref Q8_0 block, double unit, ulong bits) =>
                {
                    block.D = Positive(unit, bits);
                    // No encoder writes -128.
                    foreach (ref sbyte code in (Span<sbyte>)block.Qs)
                        code = Math.Max(code, (sbyte)-127);
                });
                break;
            case nameof(Q2_K):
                Set(blocks, deviation, AffineDeviation(15, 3), ref random, static (ref Q2_K block, double unit, ulong bits) =>
                    (block.D, block.Dmin) = (Positive(unit, bits), Positive(1.5 * unit, bits)));
                break;
            case nameof(Q3_K):
                Set(blocks, deviation, Math.Sqrt(Square6 * MeanSquare(-4, 3)), ref random, static (ref Q3_K block, double unit, ulong bits) => block.D = Positive(unit, bits));
                break;
            case nameof(Q4_K):
                Set(blocks, deviation, AffineDeviation(63, 15), ref random, static (ref Q4_K block, double unit, ulong bits) =>
                    (block.D, block.Dmin) = (Positive(unit, bits), Positive(7.5 * unit, bits)));
                break;
            case nameof(Q5_K):
                Set(blocks, deviation, AffineDeviation(63, 31), ref random, static (ref Q5_K block, double unit, ulong bits) =>
                    (block.D, block.Dmin) = (Positive(unit, bits), Positive(15.5 * unit, bits)));
                break;
            case nameof(Q6_K):
                Set(blocks, deviation, Math.Sqrt(MeanSquare(-128, 127) * Square6), ref random, static (ref Q6_K block, double unit, ulong bits) => block.D = Positive(unit, bits));
                break;
            case nameof(IQ4_NL):
                Set(blocks, deviation, Math.Sqrt(SquareIq4), ref random, static (ref IQ4_NL block, double unit, ulong bits) => block.D = Signed(unit, bits));
                break;
            case nameof(IQ4_XS):
                Set(blocks, deviation, Math.Sqrt(Square6 * SquareIq4), ref random, static (ref IQ4_XS block, double unit, ulong bits) => block.D = Positive(unit, bits));
                break;
            case nameof(TQ1_0):
                // A digit is as often 0 as 1 or 2.
                Set(blocks, deviation, Math.Sqrt(2.0 / 3), ref random, static (ref TQ1_0 block, double unit, ulong bits) => block.D = Positive(unit, bits));
                break;
            case nameof(TQ2_0):
                Set(blocks, deviation, Math.Sqrt(0.5), ref random, static (ref TQ2_0 block, double unit, ulong bits) =>
                {
                    block.D = Positive(unit, bits);
                    // 3 is no code; it becomes 1, which stands for 0.
                    foreach (ref byte codes in (Span<byte>)block.Qs)
                        codes = (byte)(codes & ~(codes << 1 & 0xAA));
                });
                break;
            case nameof(MXFP4):
                FillMxfp4(MemoryMarshal.Cast<byte, MXFP4>(blocks), deviation, ref random);
                break;
            case nameof(NVFP4):
                FillNvfp4(MemoryMarshal.Cast<byte, NVFP4>(blocks), deviation, ref random);
                break;
            default:
                throw new NotSupportedException($"{format} has no random blocks.");
        }
    }

    private static void Set<TBlock>(Span<byte> blocks, double deviation, double codeDeviation, ref SplitMix64 random, Scale<TBlock> scale)
        where TBlock : unmanaged
    {
        double unit = deviation / (codeDeviation * ScaleSpread);
        foreach (ref TBlock block in MemoryMarshal.Cast<byte, TBlock>(blocks))
            scale(ref block, unit, random.Next());
    }

    // 8 bits spread the scale.
    private static Half Positive(double unit, ulong bits) => (Half)(unit * (0.75 + ((byte)bits / 510.0)));

    private static Half Signed(double unit, ulong bits) => (bits & 256) == 0 ? Positive(unit, bits) : -Positive(unit, bits);

    private static void FillMxfp4(Span<MXFP4> blocks, double deviation, ref SplitMix64 random)
    {
        (byte low, double share) = Neighbours(deviation / Math.Sqrt(SquareE2M1), ByteScales.HalfE8M0, 254);
        foreach (ref MXFP4 block in blocks)
            block.E = (byte)(low + (IsUpper(random.Next(), share) ? 1 : 0));
    }

    private static void FillNvfp4(Span<NVFP4> blocks, double deviation, ref SplitMix64 random)
    {
        (byte low, double share) = Neighbours(deviation / Math.Sqrt(SquareE2M1), ByteScales.HalfUE4M3, 126);
        foreach (ref NVFP4 block in blocks)
        {
            ulong bits = random.Next();
            for (int group = 0; group < 4; group++)
                block.D[group] = (byte)(low + (IsUpper(bits >> 16 * group, share) ? 1 : 0));
        }
    }

    private static bool IsUpper(ulong bits, double share) => (ushort)bits < share * 65536;

    // Of scales in few steps, the one at or below a wanted scale, and the share that the one above it needs so that the mean of their squares is as wanted.
    private static (byte Low, double Share) Neighbours(double wanted, Func<byte, float> value, int codes)
    {
        int low = 0;
        while (low < codes - 2 && value((byte)(low + 1)) <= wanted) low++;
        double below = Math.Pow(value((byte)low), 2), above = Math.Pow(value((byte)(low + 1)), 2);
        return ((byte)low, Math.Clamp((wanted * wanted - below) / (above - below), 0, 1));
    }

    // Of s q - c m with scale s and minimum m from 0 to the largest scale, q from 0 to the largest code and c half of that, all even and independent of one another.
    private static double AffineDeviation(int largestScale, int largestCode)
    {
        double center = largestCode / 2.0, scale = MeanSquare(0, largestScale), mean = largestScale / 2.0;
        return Math.Sqrt((scale * (MeanSquare(0, largestCode) + (center * center))) - (2 * center * center * mean * mean));
    }

    private static double MeanSquare(int lowest, int highest)
    {
        double sum = 0;
        for (int code = lowest; code <= highest; code++)
            sum += (double)code * code;
        return sum / (highest - lowest + 1);
    }

    private static double MeanSquare(ReadOnlySpan<sbyte> table)
    {
        double sum = 0;
        foreach (sbyte value in table)
            sum += (double)value * value;
        return sum / table.Length;
    }
}
