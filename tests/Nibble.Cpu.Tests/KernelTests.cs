using System.Runtime.Intrinsics;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Cpu.Codes;
using Nibble.Cpu.Jobs;
using Nibble.Cpu.Kernels;
using Nibble.Cpu.Packed;

namespace Nibble.Cpu.Tests;

/// <summary>Kernels on memory between protected pages, and exactness that no operation shows by itself.</summary>
public unsafe class KernelTests
{
    [Theory]
    [MemberData(nameof(Cases.PathsAndFormats), MemberType = typeof(Cases))]
    public void Products_touch_nothing_beside_weights_activations_and_outputs(string path, string formatName)
    {
        BlockFormat format = BlockFormats.Find(formatName)!;
        CpuKernels kernels = CpuPaths.Choose(path).NewKernels();
        CodeFormat? codes = CodeFormats.Find(format);
        foreach (GuardSide side in new[] { GuardSide.Start, GuardSide.End })
        {
            foreach ((int rows, int tokens, int blocks) in new[] { (1, 1, 1), (5, 3, 3), (18, 7, 1) })
            {
                int columns = blocks * format.BlockValues;
                using TestWeights source = new(format, rows, columns, 5);
                using GuardedMemory<byte> weights = new(source.Bytes, side);
                using GuardedMemory<float> x = new(Values.Random(new Random(1), tokens * columns), side), y = new(tokens * rows, side);
                using GuardedMemory<int> numbers = new([.. Enumerable.Range(0, tokens)], side);
                using Scratch forms = new(), own = new();
                MatMulJob job = new(kernels, [own]);
                job.Begin(x.Pointer, columns, tokens, columns);
                job.AddTarget(new MatMulTarget
                {
                    Weights = weights.Pointer,
                    RowBytes = format.RowBytes(columns),
                    Rows = rows,
                    Scale = 1,
                    Format = format,
                    Codes = codes,
                    Y = y.Pointer,
                    YStride = rows,
                    Inputs = numbers.Pointer,
                    Outputs = numbers.Pointer,
                    Count = tokens,
                });
                job.Prepare(forms);
                if (job.NeedsForms) job.Forms.Run(0, 1, 0);
                job.Run(0, 1, 0);
                Assert.All(y.Span.ToArray(), value => Assert.True(value != 0 && float.IsFinite(value)));
            }
        }
    }

    [Theory]
    [MemberData(nameof(Cases.Paths), MemberType = typeof(Cases))]
    public void Element_kernels_touch_nothing_beside_their_values(string path)
    {
        CpuKernels kernels = CpuPaths.Choose(path).NewKernels();
        for (int count = 1; count <= 67; count++)
        {
            foreach (GuardSide side in new[] { GuardSide.Start, GuardSide.End })
            {
                using GuardedMemory<float> a = new(Values.Random(new Random(count), count), side), b = new(Values.Random(new Random(1), count), side), y = new(count, side);
                using GuardedMemory<float> tall = new(Values.Random(new Random(2), 3 * count), side), three = new([1, 2, 3], side);
                kernels.Add(a.Pointer, b.Pointer, y.Pointer, count);
                kernels.Scale(a.Pointer, 2, y.Pointer, count);
                kernels.Combine(tall.Pointer, count, three.Pointer, 3, y.Pointer, count);
                kernels.Clamp(a.Pointer, 1, y.Pointer, count);
                kernels.SoftCap(a.Pointer, 1, y.Pointer, count);
                foreach (Activation activation in Enum.GetValues<Activation>())
                {
                    kernels.Activate(activation, a.Pointer, b.Pointer, y.Pointer, count);
                    kernels.Activate(activation, a.Pointer, null, y.Pointer, count);
                }

                kernels.Norm(a.Pointer, new NormOptions(NormKind.Rms, 1), b.Pointer, null, y.Pointer, count);
                kernels.Norm(a.Pointer, new NormOptions(NormKind.Layer, 1), b.Pointer, a.Pointer, y.Pointer, count);

                // Three taps: the state, the one row and its output. The state stays, since only the kernel is called.
                using GuardedMemory<float> state = new(Values.Random(new Random(3), 2 * count), side);
                ConvolutionArguments convolution = new()
                {
                    X = a.Pointer, XStride = count, State = state.Pointer, StateStride = count, Kernel = tall.Pointer, Bias = b.Pointer, Y = y.Pointer, YStride = count, Tokens = 1, Taps = 3, Channels = count,
                };
                kernels.Convolve(in convolution, 0, 0, count);
                Rotation.Halves(tall.Pointer, a.Pointer, b.Pointer, count);
                Rotation.Adjacent(tall.Pointer, a.Pointer, b.Pointer, count);
                foreach (float value in y.Span)
                    Assert.True(value != 0);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Cases.Paths), MemberType = typeof(Cases))]
    public void Attention_touches_nothing_beside_its_memory(string path)
    {
        CpuKernels kernels = CpuPaths.Choose(path).NewKernels();
        foreach (string name in new[] { "F32", "F16", "Q8_0" })
        {
            BlockFormat format = BlockFormats.Find(name)!;
            foreach (GuardSide side in new[] { GuardSide.Start, GuardSide.End })
            {
                foreach ((int window, int positions) in new[] { (0, 70), (10, 21) })
                    Check(format, window, positions, side);
            }
        }

        // Tokens 68 and 69; with a window they see 59 to 69, in rows 17 to 20 and 0 to 6.
        void Check(BlockFormat format, int window, int positions, GuardSide side)
        {
            int size = format.BlockValues == 32 ? 32 : 33;
            float[] values = Values.Random(new Random(1), positions * size);
            byte[] encoded = new byte[format.RowBytes(values.Length)];
            format.Encode(values, encoded);
            using GuardedMemory<byte> keys = new(encoded, side), vals = new(encoded, side);
            using GuardedMemory<float> queries = new(Values.Random(new Random(2), 2 * size), side), y = new(2 * size, side);
            AttentionArguments arguments = new()
            {
                Queries = queries.Pointer,
                QueryStride = size,
                Y = y.Pointer,
                YStride = size,
                Keys = keys.Pointer,
                Values = vals.Pointer,
                KeyBytes = format.RowBytes(size),
                ValueBytes = format.RowBytes(size),
                Format = format,
                FirstPosition = 68,
                Tokens = 2,
                Rows = positions,
                Layer = new KvLayer(1, size, size, window),
                Options = new AttentionOptions(1, 0.1f) { SoftCap = 5, AlibiBias = 1 },
                UnitRows = 2,
            };
            AttentionUnit unit = new(0, 2, 0, 1, arguments.FirstChunk, arguments.Chunks);
            using GuardedMemory<byte> scratch = new((int)arguments.ScratchBytes, side);
            kernels.Attention(in arguments, in unit, scratch.Pointer);
            Assert.All(y.Span.ToArray(), value => Assert.True(value != 0 && float.IsFinite(value)));

            // The same through partial results.
            float[] whole = y.Span.ToArray();
            using GuardedMemory<float> partials = new(2 * arguments.Chunks * arguments.PartialValues, side);
            arguments.Partials = partials.Pointer;
            y.Span.Clear();
            kernels.Attention(in arguments, in unit, scratch.Pointer);
            Assert.All(y.Span.ToArray(), value => Assert.Equal(0, value));
            kernels.MergeAttention(in arguments, in unit, scratch.Pointer);
            Assert.Equal(whole, y.Span.ToArray());
        }
    }

    [Theory]
    [MemberData(nameof(Cases.CodeFormats), MemberType = typeof(Cases))]
    public void Codes_of_random_and_of_extreme_blocks_decode_to_the_format_s_bits(string formatName)
    {
        BlockFormat format = BlockFormats.Find(formatName)!;
        CodeFormat codes = CodeFormats.Find(format)!;
        int columns = 8 * format.BlockValues;
        Random random = new(17);
        for (int run = 0; run < 60; run++)
        {
            // Every byte may be anything, so scales are NaN, infinite, subnormal and negative too.
            byte[] bytes = new byte[format.RowBytes(columns)];
            random.NextBytes(bytes);
            if (run == 0) Array.Fill(bytes, (byte)0x00);
            if (run == 1) Array.Fill(bytes, (byte)0xFF);
            if (run == 2) Array.Fill(bytes, (byte)0x80);
            if (run == 3) Array.Fill(bytes, (byte)0x7C);
            using GuardedMemory<byte> row = new(bytes, run % 2 == 0 ? GuardSide.End : GuardSide.Start);
            using GuardedMemory<sbyte> q = new(columns);
            using GuardedMemory<float> scales = new(columns / 16), mins = new(columns / 16), ours = new(columns);
            float[] theirs = new float[columns];
            format.Decode(row.Span, theirs);
            codes.Unpack(row.Pointer, columns, q.Pointer, scales.Pointer, mins.Pointer);
            CodeFormats.ToFloat(q.Pointer, scales.Pointer, codes.HasMins ? mins.Pointer : null, columns, ours.Pointer);
            for (int i = 0; i < columns; i++)
                Assert.True(
                    BitConverter.SingleToInt32Bits(theirs[i]) == BitConverter.SingleToInt32Bits(ours.Span[i]) || (float.IsNaN(theirs[i]) && float.IsNaN(ours.Span[i])),
                    $"run {run}, value {i}: {ours.Span[i]:R} and not {theirs[i]:R}");
        }
    }

    [Fact]
    public void Products_are_added_with_one_rounding()
    {
        // This class also runs without fused multiply-add, see PathTests.
        Random random = new(19);
        for (int run = 0; run < 10_000; run++)
        {
            float[] values = Values.Random(random, 12);
            // Sums that cancel most of the product show how often it was rounded.
            if (run % 2 == 0) for (int i = 0; i < 4; i++) values[8 + i] = -(values[i] * values[4 + i]);
            Vector128<float> sums = Lanes128.MultiplyAdd(
                Vector128.Create(values, 0), Vector128.Create(values, 4), Vector128.Create(values, 8));
            for (int i = 0; i < 4; i++)
                Assert.Equal(MathF.FusedMultiplyAdd(values[i], values[4 + i], values[8 + i]), sums[i]);
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    [InlineData(8)]
    public void Activation_codes_equal_the_scalar_rule(int width)
    {
        Random random = new(5);
        for (int run = 0; run < 200; run++)
        {
            int columns = 32 * random.Next(1, 20), token = random.Next(width);
            float[] values = Values.Random(random, columns);
            if (run % 8 == 1) values.AsSpan(0, 32).Clear();
            if (run % 8 == 2) values[3] = 1e30f;
            if (run % 8 == 3) values.AsSpan(0, 32).Fill(1e-38f);
            if (run % 8 == 4) values[5] = float.NaN;
            if (run % 8 == 5) values[31] = float.NegativeInfinity;
            if (run % 8 == 6) values.AsSpan(0, 32).Fill(-MathF.ScaleB(1, -120));
            if (run % 8 == 7) values.AsSpan(0, 32).Fill(MathF.BitDecrement(MathF.ScaleB(1, -120)));
            using GuardedMemory<float> x = new(values);
            using GuardedMemory<byte> tile = new(columns / 32 * width * TokenTiles.RunBytes);
            TokenTiles.PutCodes(x.Pointer, columns, tile.Pointer, width, token, 0);
            for (int block = 0; block < columns / 32; block++)
            {
                float largest = values.AsSpan(block * 32, 32).ToArray().Max(MathF.Abs);
                bool isFinite = values.AsSpan(block * 32, 32).ToArray().All(float.IsFinite), isZero = !isFinite || largest < MathF.ScaleB(1, -120);
                float scale = isFinite ? (isZero ? 0 : largest / 127) * Heads.TokenFactor : float.NaN;
                byte* place = tile.Pointer + (block * width * TokenTiles.RunBytes);
                int[] sums = new int[2];
                for (int i = 0; i < 32; i++)
                {
                    int code = isZero ? 0 : (int)MathF.Round(values[(block * 32) + i] * (127 / largest));
                    Assert.Equal(code, (sbyte)place[(4 * ((i / 4 * width) + token)) + (i % 4)]);
                    Assert.InRange(code, -127, 127);
                    sums[i / 16] += code;
                }

                int field = (8 * width) + token;
                Assert.Equal(scale, ((float*)place)[field]);
                Assert.Equal(scale * (sums[0] + sums[1]), ((float*)place)[field + width]);
                Assert.Equal((sums[0], sums[1]), (((short*)place)[2 * (field + (2 * width))], ((short*)place)[(2 * (field + (2 * width))) + 1]));
                Assert.Equal(-8 * (sums[0] + sums[1]), ((int*)place)[field + (3 * width)]);
            }
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    [InlineData(8)]
    public void Activations_with_a_scale_of_their_own_are_rounded_as_the_readable_rule_says(int width)
    {
        Random random = new(6);
        for (int run = 0; run < 100; run++)
        {
            int columns = 32 * random.Next(1, 12), token = random.Next(width);
            float scale = run % 10 == 0 ? InputRounding.LeastScale : run % 10 == 1 ? InputRounding.MostScale : MathF.ScaleB(0.5f + random.NextSingle(), random.Next(-12, 2));
            // Some beyond what the scale reaches, some halfway between two multiples.
            float[] values = [.. Values.Random(random, columns).Select((value, i) => i % 7 == 3 ? scale * (random.Next(-130, 130) + 0.5f) : value * 200 * scale)], expected = new float[columns];
            if (run % 6 == 1) values[3] = float.NaN;
            if (run % 6 == 2) values[30] = float.PositiveInfinity;
            if (run % 6 == 3) values[11] = -3e38f;
            InputRounding.Round(values, scale, expected);
            using GuardedMemory<float> x = new(values);
            using GuardedMemory<byte> tile = new(columns / 32 * width * TokenTiles.RunBytes);
            TokenTiles.PutCodes(x.Pointer, columns, tile.Pointer, width, token, scale);
            for (int block = 0; block < columns / 32; block++)
            {
                byte* place = tile.Pointer + (block * width * TokenTiles.RunBytes);
                bool isFinite = values.AsSpan(block * 32, 32).ToArray().All(float.IsFinite);
                int field = (8 * width) + token, sum = 0;
                Assert.Equal(isFinite ? scale * Heads.TokenFactor : float.NaN, ((float*)place)[field]);
                for (int i = 0; i < 32; i++)
                {
                    int code = (sbyte)place[(4 * ((i / 4 * width) + token)) + (i % 4)];
                    Assert.InRange(code, -127, 127);
                    if (isFinite) Assert.Equal(expected[(block * 32) + i], scale * code);
                    sum += code;
                }

                Assert.Equal(-8 * sum, ((int*)place)[field + (3 * width)]);
                if (isFinite) Assert.Equal(scale * Heads.TokenFactor * sum, ((float*)place)[field + width]);
            }

            // The same as float32, of any number of columns.
            int count = random.Next(1, columns + 1);
            using GuardedMemory<float> from = new(values.AsSpan(0, count)), to = new(count);
            InputRows.Round(from.Pointer, count, scale, to.Pointer);
            for (int i = 0; i < count; i++)
                Assert.True(to.Span[i] == expected[i] || (float.IsNaN(to.Span[i]) && float.IsNaN(expected[i])), $"value {i} of {count}: {to.Span[i]:R} and not {expected[i]:R}");
        }
    }

    [Fact]
    public void Exp_is_within_its_stated_error_everywhere()
    {
        double worst = 0;
        for (double x = -87; x < 88.7; x += 0.00371)
            worst = Math.Max(worst, Math.Abs((Exp128((float)x) / Math.Exp((float)x)) - 1));
        Assert.InRange(worst, 1e-9, 1.5e-7);
        for (double x = -103; x < -87; x += 0.01)
            Assert.InRange(Exp128((float)x) - Math.Exp((float)x), -1.5e-45, 1.5e-45); // subnormal: one step
        Assert.Equal(1f, Exp128(0));
        Assert.Equal(0f, Exp128(-105));
        Assert.Equal(0f, Exp128(float.NegativeInfinity));
        Assert.Equal(float.PositiveInfinity, Exp128(88.8f));
        Assert.Equal(float.PositiveInfinity, Exp128(float.PositiveInfinity));
        Assert.True(float.IsNaN(Exp128(float.NaN)));
        Assert.InRange((Exp128(88.7228f) / Math.Exp(88.7228f)) - 1, -1.5e-7, 1.5e-7); // 0.99996 of the largest float
    }

    [Fact]
    public void Exp2_is_within_its_stated_error_where_it_is_used()
    {
        double worst = 0;
        for (double x = -126; x <= 0; x += 0.00137)
            worst = Math.Max(worst, Math.Abs((Exp2128((float)x) / Math.Pow(2, (float)x)) - 1));
        for (double x = -1; x < -1e-30; x /= 1.1)
            worst = Math.Max(worst, Math.Abs((Exp2128((float)x) / Math.Pow(2, (float)x)) - 1));
        Assert.InRange(worst, 1e-9, 2e-7);
        for (int n = 0; n <= 126; n++)
            Assert.Equal(MathF.ScaleB(1, -n), Exp2128(-n));
        Assert.Equal(MathF.ScaleB(1, -126), Exp2128(-127));
        Assert.Equal(MathF.ScaleB(1, -126), Exp2128(float.NegativeInfinity));
        Assert.True(float.IsNaN(Exp2128(float.NaN)));
        Assert.True(float.IsNaN(Exp2128(BitConverter.UInt32BitsToSingle(0xFFFF_FFFF))));
    }

    [Fact]
    public void Half_values_widen_to_the_runtime_s_bits()
    {
        for (int bits = 0; bits < 65536; bits++)
        {
            ushort half = (ushort)bits;
            float ours = Bits.HalfAt((byte*)&half), theirs = (float)BitConverter.UInt16BitsToHalf(half);
            Assert.Equal(BitConverter.SingleToInt32Bits(theirs), BitConverter.SingleToInt32Bits(ours));
        }
    }

    [Fact]
    public void Tanh_and_softplus_are_within_their_stated_errors_everywhere()
    {
        double tanh = 0, softplus = 0;
        for (double x = -12; x < 12; x += 0.00037)
        {
            float v = (float)x;
            tanh = Math.Max(tanh, Math.Abs((Tanh128(v) / Math.Tanh(v)) - 1));
        }

        for (double x = 1e-30; x < 1; x *= 1.1)
            tanh = Math.Max(tanh, Math.Abs((Tanh128((float)x) / Math.Tanh((float)x)) - 1));
        for (double x = -80; x < 80; x += 0.0037)
        {
            // ln(1 + t) by its series where 1 + t would lose digits.
            double v = (float)x, t = Math.Exp(-Math.Abs(v)), log = t < 1e-4 ? t - (t * t / 2) + (t * t * t / 3) : Math.Log(1 + t);
            softplus = Math.Max(softplus, Math.Abs((Softplus128((float)x) / (Math.Max(v, 0) + log)) - 1));
        }

        Assert.InRange(tanh, 1e-9, 5e-7);
        Assert.InRange(softplus, 1e-9, 5e-7);
        Assert.Equal(1f, Tanh128(float.PositiveInfinity));
        Assert.Equal(-1f, Tanh128(-20));
        Assert.Equal(0f, Tanh128(0));
        Assert.True(float.IsNaN(Tanh128(float.NaN)));
        Assert.Equal(float.PositiveInfinity, Softplus128(float.PositiveInfinity));
        Assert.Equal(0f, Softplus128(float.NegativeInfinity));
        Assert.True(float.IsNaN(Softplus128(float.NaN)));
    }

    private static float Tanh128(float x) =>
        Vector128.ToScalar(VectorMath<Lanes128, Vector128<float>>.Tanh(Vector128.Create(x)));

    private static float Softplus128(float x) =>
        Vector128.ToScalar(VectorMath<Lanes128, Vector128<float>>.Softplus(Vector128.Create(x)));

    private static float Exp128(float x) =>
        Vector128.ToScalar(VectorMath<Lanes128, Vector128<float>>.Exp(Vector128.Create(x)));

    private static float Exp2128(float x) =>
        Vector128.ToScalar(VectorMath<Lanes128, Vector128<float>>.Exp2(Vector128.Create(x)));
}
