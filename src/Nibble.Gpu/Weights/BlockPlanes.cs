using Nibble.Core.Formats;

namespace Nibble.Gpu.Weights;

/// <summary>The readers of block formats. Formats of fewer bits than 4 are read as 4 bits, with the same scales.</summary>
internal static class BlockPlanes
{
    private static readonly Dictionary<string, PlaneReader> s_readers = new()
    {
        ["Q4_0"] = new Q4_0Planes(),
        ["Q4_1"] = new Q4_1Planes(),
        ["Q5_0"] = new Q5_0Planes(),
        ["Q5_1"] = new Q5_1Planes(),
        ["Q8_0"] = new Q8_0Planes(),
        ["IQ4_NL"] = new Iq4NlPlanes(),
        ["MXFP4"] = new Mxfp4Planes(),
        ["NVFP4"] = new Nvfp4Planes(),
        ["Q2_K"] = new Q2KPlanes(),
        ["Q3_K"] = new Q3KPlanes(),
        ["Q4_K"] = new Q4KPlanes(),
        ["Q5_K"] = new Q5KPlanes(),
        ["Q6_K"] = new Q6KPlanes(),
        ["IQ4_XS"] = new Iq4XsPlanes(),
        ["TQ1_0"] = new Tq1Planes(),
        ["TQ2_0"] = new Tq2Planes(),
    };

    /// <summary>The reader of a format, or null.</summary>
    public static PlaneReader? Find(BlockFormat format) => s_readers.GetValueOrDefault(format.Name);

    private static float[] Floats(ReadOnlySpan<sbyte> table)
    {
        float[] values = new float[table.Length];
        for (int i = 0; i < values.Length; i++)
            values[i] = table[i];
        return values;
    }

    private static void FifthBits(uint bits, Span<byte> codes)
    {
        for (int j = 0; j < 32; j++)
            codes[j] |= (byte)((bits >> j & 1) << 4);
    }

    private sealed class Q4_0Planes() : BlockPlanes<Q4_0>(new PlaneFormat(PlaneCode.Bits4, PlaneScale.Half, 32, 8))
    {
        protected override void Read(in Q4_0 block, int b, Span<byte> codes, PlaneRow to)
        {
            Nibbles(block.Qs, codes);
            to.Plane<Half>(2)[b] = block.D;
        }
    }

    private sealed class Q4_1Planes() : BlockPlanes<Q4_1>(new PlaneFormat(PlaneCode.Bits4, PlaneScale.HalfAndMin, 32))
    {
        protected override void Read(in Q4_1 block, int b, Span<byte> codes, PlaneRow to)
        {
            Nibbles(block.Qs, codes);
            to.Plane<Half>(2)[b] = block.D;
            to.Plane<Half>(3)[b] = block.M;
        }
    }

    private sealed class Q5_0Planes() : BlockPlanes<Q5_0>(new PlaneFormat(PlaneCode.Bits5, PlaneScale.Half, 32, 16))
    {
        protected override void Read(in Q5_0 block, int b, Span<byte> codes, PlaneRow to)
        {
            Nibbles(block.Qs, codes);
            FifthBits(block.Qh, codes);
            to.Plane<Half>(2)[b] = block.D;
        }
    }

    private sealed class Q5_1Planes() : BlockPlanes<Q5_1>(new PlaneFormat(PlaneCode.Bits5, PlaneScale.HalfAndMin, 32))
    {
        protected override void Read(in Q5_1 block, int b, Span<byte> codes, PlaneRow to)
        {
            Nibbles(block.Qs, codes);
            FifthBits(block.Qh, codes);
            to.Plane<Half>(2)[b] = block.D;
            to.Plane<Half>(3)[b] = block.M;
        }
    }

    private sealed class Q8_0Planes() : BlockPlanes<Q8_0>(new PlaneFormat(PlaneCode.SignedByte, PlaneScale.Half, 32))
    {
        protected override void Read(in Q8_0 block, int b, Span<byte> codes, PlaneRow to)
        {
            ReadOnlySpan<sbyte> qs = block.Qs;
            qs.CopyTo(to.Plane<sbyte>(0).Slice(b * 32, 32));
            to.Plane<Half>(2)[b] = block.D;
        }
    }

    private sealed class Iq4NlPlanes() : BlockPlanes<IQ4_NL>(new PlaneFormat(PlaneCode.Bits4, PlaneScale.Half, 32, HasTable: true))
    {
        public override float[] Table { get; } = Floats(Codebooks.Iq4Nl);

        protected override void Read(in IQ4_NL block, int b, Span<byte> codes, PlaneRow to)
        {
            Nibbles(block.Qs, codes);
            to.Plane<Half>(2)[b] = block.D;
        }
    }

    private sealed class Mxfp4Planes() : BlockPlanes<MXFP4>(new PlaneFormat(PlaneCode.Bits4, PlaneScale.Exponent, 32, HasTable: true))
    {
        public override float[] Table { get; } = Floats(Codebooks.E2M1Doubled);

        protected override void Read(in MXFP4 block, int b, Span<byte> codes, PlaneRow to)
        {
            Nibbles(block.Qs, codes);
            to.Plane<byte>(2)[b] = block.E;
        }
    }

    private sealed class Nvfp4Planes() : BlockPlanes<NVFP4>(new PlaneFormat(PlaneCode.Bits4, PlaneScale.Single, 16, HasTable: true))
    {
        public override float[] Table { get; } = Floats(Codebooks.E2M1Doubled);

        protected override void Read(in NVFP4 block, int b, Span<byte> codes, PlaneRow to)
        {
            ReadOnlySpan<byte> qs = block.Qs, scales = block.D;
            for (int group = 0; group < 4; group++)
            {
                Nibbles(qs.Slice(group * 8, 8), codes.Slice(group * 16, 16));
                to.Plane<float>(2)[(b * 4) + group] = ByteScales.HalfUE4M3(scales[group]);
            }
        }
    }

    private sealed class Q2KPlanes() : BlockPlanes<Q2_K>(new PlaneFormat(PlaneCode.Bits4, PlaneScale.BytesAndMins, 16))
    {
        protected override void Read(in Q2_K block, int b, Span<byte> codes, PlaneRow to)
        {
            ReadOnlySpan<byte> qs = block.Qs, scales = block.Scales;
            for (int i = 0; i < 256; i++)
                codes[i] = (byte)(qs[(i / 128 * 32) + (i % 32)] >> (2 * (i % 128 / 32)) & 3);
            to.Plane<Half>(2)[b] = block.D;
            to.Plane<Half>(3)[b] = block.Dmin;
            for (int group = 0; group < 16; group++)
            {
                to.Plane<byte>(4)[(b * 16) + group] = (byte)(scales[group] & 15);
                to.Plane<byte>(5)[(b * 16) + group] = (byte)(scales[group] >> 4);
            }
        }
    }

    private sealed class Q3KPlanes() : BlockPlanes<Q3_K>(new PlaneFormat(PlaneCode.Bits4, PlaneScale.SignedBytes, 16, 4))
    {
        protected override void Read(in Q3_K block, int b, Span<byte> codes, PlaneRow to)
        {
            ReadOnlySpan<byte> qs = block.Qs, high = block.Hmask;
            for (int i = 0; i < 256; i++)
                codes[i] = (byte)((qs[(i / 128 * 32) + (i % 32)] >> (2 * (i % 128 / 32)) & 3) + ((high[i % 32] >> (i / 32) & 1) * 4));
            to.Plane<Half>(2)[b] = block.D;
            for (int group = 0; group < 16; group++)
                to.Plane<sbyte>(3)[(b * 16) + group] = (sbyte)Q3_K.Scale(block.Scales, group);
        }
    }

    private sealed class Q4KPlanes() : BlockPlanes<Q4_K>(new PlaneFormat(PlaneCode.Bits4, PlaneScale.BytesAndMins, 32))
    {
        protected override void Read(in Q4_K block, int b, Span<byte> codes, PlaneRow to)
        {
            ReadOnlySpan<byte> qs = block.Qs;
            for (int part = 0; part < 4; part++)
                Nibbles(qs.Slice(part * 32, 32), codes.Slice(part * 64, 64));
            KScales(block.D, block.Dmin, block.Scales, b, to);
        }
    }

    private sealed class Q5KPlanes() : BlockPlanes<Q5_K>(new PlaneFormat(PlaneCode.Bits5, PlaneScale.BytesAndMins, 32))
    {
        protected override void Read(in Q5_K block, int b, Span<byte> codes, PlaneRow to)
        {
            ReadOnlySpan<byte> qs = block.Qs, high = block.Qh;
            for (int part = 0; part < 4; part++)
                Nibbles(qs.Slice(part * 32, 32), codes.Slice(part * 64, 64));
            for (int i = 0; i < 256; i++)
                codes[i] |= (byte)((high[i % 32] >> (i / 32) & 1) << 4);
            KScales(block.D, block.Dmin, block.Scales, b, to);
        }
    }

    private static void KScales(Half d, Half dmin, ReadOnlySpan<byte> packed, int b, PlaneRow to)
    {
        to.Plane<Half>(2)[b] = d;
        to.Plane<Half>(3)[b] = dmin;
        for (int group = 0; group < 8; group++)
        {
            (int scale, int min) = PackedScales.Get(packed, group);
            to.Plane<byte>(4)[(b * 8) + group] = (byte)scale;
            to.Plane<byte>(5)[(b * 8) + group] = (byte)min;
        }
    }

    private sealed class Q6KPlanes() : BlockPlanes<Q6_K>(new PlaneFormat(PlaneCode.Bits6, PlaneScale.SignedBytes, 16, 32))
    {
        protected override void Read(in Q6_K block, int b, Span<byte> codes, PlaneRow to)
        {
            ReadOnlySpan<byte> low = block.Ql, high = block.Qh;
            for (int i = 0; i < 256; i++)
            {
                int n = i / 128, k = i % 128 / 32, l = i % 32;
                codes[i] = (byte)((low[(64 * n) + (32 * (k & 1)) + l] >> (k / 2 * 4) & 15) | ((high[(32 * n) + l] >> (2 * k) & 3) << 4));
            }

            to.Plane<Half>(2)[b] = block.D;
            ReadOnlySpan<sbyte> scales = block.Scales;
            scales.CopyTo(to.Plane<sbyte>(3).Slice(b * 16, 16));
        }
    }

    private sealed class Iq4XsPlanes() : BlockPlanes<IQ4_XS>(new PlaneFormat(PlaneCode.Bits4, PlaneScale.SignedBytes, 32, HasTable: true))
    {
        public override float[] Table { get; } = Floats(Codebooks.Iq4Nl);

        protected override void Read(in IQ4_XS block, int b, Span<byte> codes, PlaneRow to)
        {
            ReadOnlySpan<byte> qs = block.Qs;
            to.Plane<Half>(2)[b] = block.D;
            for (int group = 0; group < 8; group++)
            {
                Nibbles(qs.Slice(group * 16, 16), codes.Slice(group * 32, 32));
                to.Plane<sbyte>(3)[(b * 8) + group] = (sbyte)IQ4_XS.Scale(in block, group);
            }
        }
    }

    private sealed class Tq1Planes() : BlockPlanes<TQ1_0>(new PlaneFormat(PlaneCode.Bits4, PlaneScale.Half, 256, 1))
    {
        protected override void Read(in TQ1_0 block, int b, Span<byte> codes, PlaneRow to)
        {
            ReadOnlySpan<byte> qs = block.Qs;
            Digits(qs[..32], 5, codes);
            Digits(qs[32..], 5, codes[160..]);
            Digits(block.Qh, 4, codes[240..]);
            to.Plane<Half>(2)[b] = block.D;
        }

        // A digit is the next third of 256 into which the byte falls.
        private static void Digits(ReadOnlySpan<byte> bytes, int digits, Span<byte> codes)
        {
            for (int n = 0, power = 1; n < digits; n++, power *= 3)
                for (int m = 0; m < bytes.Length; m++)
                    codes[(n * bytes.Length) + m] = (byte)(((bytes[m] * power) & 255) * 3 >> 8);
        }
    }

    private sealed class Tq2Planes() : BlockPlanes<TQ2_0>(new PlaneFormat(PlaneCode.Bits4, PlaneScale.Half, 256, 1))
    {
        protected override void Read(in TQ2_0 block, int b, Span<byte> codes, PlaneRow to)
        {
            ReadOnlySpan<byte> qs = block.Qs;
            for (int i = 0; i < 256; i++)
                codes[i] = (byte)(qs[(i / 128 * 32) + (i % 32)] >> (2 * (i % 128 / 32)) & 3);
            to.Plane<Half>(2)[b] = block.D;
        }
    }
}
