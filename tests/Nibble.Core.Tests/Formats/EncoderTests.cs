using Nibble.Core.Formats;

namespace Nibble.Core.Tests.Formats;

/// <summary>What holds for every encoder, beside equal bytes.</summary>
public class EncoderTests
{
    private const int Seed = 60221, Columns = 1024, Rows = 24;

    /// <summary>Every format that rounds to codes, the levels of its codes and how many values share a range.</summary>
    private static readonly (string Name, int Levels, int Group)[] s_rounding =
    [
        ("Q4_0", 16, 32), ("Q4_1", 16, 32), ("Q5_0", 32, 32), ("Q5_1", 32, 32), ("Q8_0", 255, 32), ("Q2_K", 4, 16), ("Q3_K", 8, 16), ("Q4_K", 16, 32), ("Q5_K", 32, 32), ("Q6_K", 64, 16),
        ("IQ4_NL", 16, 32), ("IQ4_XS", 16, 32), ("TQ1_0", 3, 256), ("TQ2_0", 3, 256), ("MXFP4", 15, 32), ("NVFP4", 15, 16),
    ];

    private static readonly string[] s_ignoring = ["F32", "F16", "BF16", "Q8_0", "TQ1_0", "TQ2_0", "MXFP4", "NVFP4"];

    public static TheoryData<string> Names => [.. BlockFormats.All.Select(format => format.Name)];

    public static TheoryData<string> Rounding => [.. s_rounding.Select(line => line.Name)];

    public static TheoryData<string> Weighted => [.. BlockFormats.All.Select(format => format.Name).Except(s_ignoring)];

    [Fact]
    public void Every_format_that_rounds_to_codes_is_tested() =>
        Assert.Equal(BlockFormats.All.Where(format => format.BlockValues > 1).Select(format => format.Name).Order(StringComparer.Ordinal), s_rounding.Select(line => line.Name).Order(StringComparer.Ordinal));

    [Theory]
    [MemberData(nameof(Rounding))]
    public void The_error_of_random_rows_is_at_most_that_of_even_steps_over_each_groups_range(string name)
    {
        BlockFormat format = BlockFormats.Find(name)!;
        (_, int levels, int group) = s_rounding.Single(line => line.Name == name);
        foreach (bool isWeighted in (bool[])[false, true])
        {
            Random random = new(Seed);
            double error = 0, bound = 0;
            for (int row = 0; row < Rows; row++)
            {
                float[] x = Gaussian(random, Columns, MathF.Pow(10, row % 6 - 3)), y = RoundTrip(format, x, isWeighted ? Importance(random) : []);
                for (int start = 0; start < Columns; start += group)
                {
                    // Steps of an even grid over -max to max; a rounding error that is spread evenly over a step has its square / 12 as variance. Scales that are rounded themselves, levels of
                    // floats that lie wide at the ends and importances may cost half as much again.
                    double step = 2 * x.AsSpan(start, group).ToArray().Max(Math.Abs) / (double)(levels - 1);
                    bound += group * step * step / 12 * 1.5;
                    for (int i = start; i < start + group; i++) error += Math.Pow(x[i] - y[i], 2);
                }
            }

            Assert.True(error <= bound, $"seed {Seed}, weighted {isWeighted}: {error} above {bound}");
        }
    }

    [Theory]
    [MemberData(nameof(Weighted))]
    public void Importances_lower_the_error_that_they_weigh(string name)
    {
        BlockFormat format = BlockFormats.Find(name)!;
        Random random = new(Seed);
        double plain = 0, weighted = 0;
        for (int row = 0; row < Rows; row++)
        {
            float[] x = Gaussian(random, Columns, 1), importance = Importance(random);
            plain += Error(x, RoundTrip(format, x, []), importance);
            weighted += Error(x, RoundTrip(format, x, importance), importance);
        }

        Assert.True(weighted < plain, $"seed {Seed}: {weighted} with importances, {plain} without");
    }

    [Fact]
    public void A_format_that_makes_no_use_of_importances_encodes_as_without()
    {
        Random random = new(Seed);
        float[] x = Gaussian(random, Columns, 1), importance = Importance(random);
        foreach (BlockFormat format in BlockFormats.All)
        {
            bool isSame = Encode(format, x, importance).AsSpan().SequenceEqual(Encode(format, x, []));
            Assert.Equal(s_ignoring.Contains(format.Name), isSame);
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Odd_rows_never_give_a_value_that_is_not_finite(string name)
    {
        BlockFormat format = BlockFormats.Find(name)!;
        Random random = new(Seed);
        float[][] rows =
        [
            new float[Columns], [.. Enumerable.Repeat(-0f, Columns)], [.. Enumerable.Repeat(0.37f, Columns)], [.. Enumerable.Repeat(-5f, Columns)],
            [.. Enumerable.Repeat(1e-45f, Columns)], Gaussian(random, Columns, 1e-42f), Gaussian(random, Columns, 1e-38f), Gaussian(random, Columns, 1e-20f), Gaussian(random, Columns, 1e-14f), Gaussian(random, Columns, 6e-8f),
            Gaussian(random, Columns, 1e3f), [.. Enumerable.Range(0, Columns).Select(i => i % 97 == 0 ? 3e4f : 1e-6f)], [.. Enumerable.Range(0, Columns).Select(i => i / 256 == 1 ? 1f : 0f)],
        ];
        float[][] importances = [[], Importance(random), new float[Columns], [.. Enumerable.Repeat(1e-30f, Columns)], [.. Enumerable.Range(0, Columns).Select(i => i % 3 == 0 ? 1e6f : 0f)]];
        foreach (float[] x in rows)
            foreach (float[] importance in importances)
            {
                float[] y = RoundTrip(format, x, importance);
                float largest = x.Max(Math.Abs);
                for (int i = 0; i < Columns; i++)
                    Assert.True(float.IsFinite(y[i]) && MathF.Abs(y[i]) <= 2 * largest + 1e-6f, $"seed {Seed}, row {Array.IndexOf(rows, x)}, importance {Array.IndexOf(importances, importance)}, value {i}: {x[i]} became {y[i]}");
            }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void A_row_of_zeros_stays_one(string name)
    {
        BlockFormat format = BlockFormats.Find(name)!;
        Assert.All(RoundTrip(format, new float[Columns], []), value => Assert.Equal(0, value));
        Assert.All(RoundTrip(format, new float[Columns], Importance(new Random(Seed))), value => Assert.Equal(0, value));
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Encoding_stays_inside_guard_pages(string name)
    {
        BlockFormat format = BlockFormats.Find(name)!;
        Random random = new(Seed);
        float[] x = Gaussian(random, 3 * format.BlockValues, 1), importance = [.. Importance(random).Take(x.Length)];
        foreach (GuardSide side in (GuardSide[])[GuardSide.Start, GuardSide.End])
        {
            using GuardedMemory<float> row = new(x, side), weights = new(importance, side);
            using GuardedMemory<byte> blocks = new(3 * format.BlockBytes, side);
            format.EncodeRow(row.Span, [], blocks.Span);
            Assert.Equal(Encode(format, x, []), blocks.Span.ToArray());
            format.EncodeRow(row.Span, weights.Span, blocks.Span);
            Assert.Equal(Encode(format, x, importance), blocks.Span.ToArray());
        }
    }

    [Fact]
    public void Integers_are_the_nearest_ones_within_their_range()
    {
        float[] x = [0, -0.5f, 1.5f, 2.5f, -127.6f, 127.4f, 200, -1e20f, float.NaN, float.PositiveInfinity], small = new float[x.Length], large = new float[x.Length];
        BlockFormats.I8.Decode(Encode(BlockFormats.I8, x, []), small);
        Assert.Equal([0, 0, 2, 2, -128, 127, 127, -128, 0, 127], small);
        BlockFormats.I32.Decode(Encode(BlockFormats.I32, x, []), large);
        Assert.Equal([0, 0, 2, 2, -128, 127, 200, int.MinValue, 0, int.MaxValue], large);
    }

    [Fact]
    public void E4M3_scales_without_sign_round_to_the_nearest_code_and_halves_up()
    {
        for (byte code = 1; code < 0x77; code++)
        {
            // Twice the halved scales of neighbouring codes: half of their sum is the upper one, just below it the lower.
            float scale = 2 * ByteScales.HalfUE4M3(code), next = 2 * ByteScales.HalfUE4M3((byte)(code + 1)), middle = (scale + next) / 2;
            Assert.Equal(code, ByteScales.ToUE4M3(scale));
            Assert.Equal(code == 7 ? 7 : code + 1, ByteScales.ToUE4M3(middle)); // ggml lets no subnormal round up to the first normal scale
            Assert.Equal(code, ByteScales.ToUE4M3(MathF.BitDecrement(middle)));
        }

        Assert.Equal([0, 0, 0, 0x7E, 0x7E, 0x7E], ((float[])[0, float.NaN, 1f / 2048, 256, 448, float.MaxValue]).Select(ByteScales.ToUE4M3).Select(code => (int)code));
    }

    private static float[] RoundTrip(BlockFormat format, float[] x, float[] importance)
    {
        float[] y = new float[x.Length];
        format.Decode(Encode(format, x, importance), y);
        return y;
    }

    private static byte[] Encode(BlockFormat format, float[] x, float[] importance)
    {
        byte[] blocks = new byte[format.RowBytes(x.Length)];
        format.EncodeRow(x, importance, blocks);
        return blocks;
    }

    private static double Error(float[] x, float[] y, float[] importance)
    {
        double error = 0;
        for (int i = 0; i < x.Length; i++) error += importance[i] * Math.Pow(x[i] - y[i], 2);
        return error;
    }

    // E[x^2] that spreads over three decades.
    private static float[] Importance(Random random) => [.. Enumerable.Range(0, Columns).Select(_ => MathF.Pow(10, 3 * random.NextSingle() - 2))];

    private static float[] Gaussian(Random random, int count, float deviation) =>
        [.. Enumerable.Range(0, count).Select(_ => deviation * (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble())))];
}
