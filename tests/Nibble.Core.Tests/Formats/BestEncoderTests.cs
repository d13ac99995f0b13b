using System.Runtime.InteropServices;
using Nibble.Core.Formats;

namespace Nibble.Core.Tests.Formats;

/// <summary>The longer search for blocks, compared with ggml's.</summary>
public class BestEncoderTests
{
    private const int Seed = 137, Columns = 512, Rows = 16;

    public static TheoryData<string> Names => [.. BlockFormats.All.Where(format => format.BlockValues > 1).Select(format => format.Name)];

    [Theory]
    [MemberData(nameof(Names))]
    public void No_block_has_a_larger_weighted_error_than_ggmls_and_all_together_have_a_smaller_one(string name)
    {
        BlockFormat format = BlockFormats.Find(name)!;
        foreach (bool isWeighted in (bool[])[false, true])
        {
            double usual = 0, best = 0;
            foreach ((float[] row, float[] importance) in Samples(isWeighted))
            {
                float[] weights = isWeighted ? importance : [.. Enumerable.Repeat(1f, Columns)], given = isWeighted ? importance : [];
                byte[] left = new byte[format.RowBytes(Columns)], right = new byte[left.Length];
                format.EncodeRow(row, given, left);
                format.EncodeBest(row, given, right);
                for (int start = 0; start < Columns; start += format.BlockValues)
                {
                    double leftError = Error(format, left, row, weights, start), rightError = Error(format, right, row, weights, start);
                    Assert.True(rightError <= leftError, $"weighted {isWeighted}, block of value {start}: {rightError} above {leftError}");
                    usual += leftError;
                    best += rightError;
                }
            }

            Assert.True(best < usual, $"weighted {isWeighted}: {best} is not below {usual}");
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Odd_rows_are_encoded_to_finite_values_and_zeros_stay(string name)
    {
        BlockFormat format = BlockFormats.Find(name)!;
        float[][] rows =
        [
            [.. Enumerable.Repeat(0.37f, Columns)], [.. Enumerable.Repeat(-5f, Columns)], [.. Enumerable.Repeat(1e-45f, Columns)], [.. Enumerable.Range(0, Columns).Select(i => i * 1e-41f)],
            [.. Enumerable.Range(0, Columns).Select(i => i % 97 == 0 ? 3e4f : 1e-6f)], [.. Enumerable.Range(0, Columns).Select(i => i / 256 == 1 ? 1f : 0f)],
        ];
        foreach (float[] row in rows)
            foreach (float[] importance in (float[][])[[], new float[Columns], [.. Enumerable.Range(0, Columns).Select(i => i % 3 == 0 ? 1e6f : 0f)]])
                Assert.All(RoundTrip(format, row, importance), value => Assert.True(float.IsFinite(value)));
        Assert.All(RoundTrip(format, new float[Columns], []), value => Assert.Equal(0, value));
    }

    [Fact]
    public void Formats_without_codes_have_nothing_to_look_for()
    {
        float[] row = Samples(false).First().Row;
        foreach (BlockFormat format in BlockFormats.All.Where(format => format.BlockValues == 1))
        {
            byte[] usual = new byte[format.RowBytes(Columns)], best = new byte[usual.Length];
            format.EncodeRow(row, [], usual);
            format.EncodeBest(row, [], best);
            Assert.Equal(usual, best);
        }
    }

    // A third of a block's values lie at 1 and the rest at 0.4: with the scale of ggml, 1, all small ones are lost; the least error has scale (1/3 + 2/3 * 0.4) = 0.6.
    [Fact]
    public void Ternary_blocks_have_the_scale_of_least_error()
    {
        float[] row = [.. Enumerable.Range(0, 256 * 3).Select(i => i % 3 == 0 ? 1f : -0.4f)];
        foreach (BlockFormat format in (BlockFormat[])[BlockFormats.TQ1_0, BlockFormats.TQ2_0])
            Assert.All(RoundTrip(format, row, []), value => Assert.InRange(MathF.Abs(value), 0.598f, 0.602f));
    }

    // The error of every scale in a fine grid is no smaller than that of the scale that was found among all places where a code changes.
    [Fact]
    public void No_scale_of_a_fine_grid_is_better_than_the_one_found()
    {
        Random random = new(Seed);
        LevelSet[] sets = [LevelSet.Even(-4, 3), LevelSet.Even(-8, 7), LevelSet.Even(-32, 31), LevelSet.Iq4Nl];
        for (int trial = 0; trial < 60; trial++)
        {
            LevelSet levels = sets[trial % sets.Length];
            float[] x = [.. Enumerable.Range(0, 16).Select(_ => random.NextSingle() - 0.5f)], w = [.. Enumerable.Range(0, 16).Select(_ => random.NextSingle() + 0.05f)];
            double found = Left(BestScaleSearch.GroupScale(x, w, levels).Scale), largest = x.Max(Math.Abs);
            for (int step = -3000; step <= 3000; step++)
            {
                double scale = step / 3000.0 * largest / levels.Largest * 1.5;
                if (Math.Abs(scale) < largest / levels.Largest / 1.7) continue;
                Assert.True(found <= Left(scale) * 1.00001, $"seed {Seed}, trial {trial}: {found} is above {Left(scale)} at scale {scale}");
            }

            double Left(double scale)
            {
                double error = 0;
                for (int i = 0; i < x.Length; i++)
                {
                    double nearest = levels.Levels.ToArray().Min(level => Math.Abs(x[i] - scale * level));
                    error += w[i] * nearest * nearest;
                }

                return error;
            }
        }
    }

    private static float[] RoundTrip(BlockFormat format, float[] row, float[] importance)
    {
        byte[] blocks = new byte[format.RowBytes(row.Length)];
        float[] decoded = new float[row.Length];
        format.EncodeBest(row, importance, blocks);
        format.Decode(blocks, decoded);
        return decoded;
    }

    private static double Error(BlockFormat format, byte[] blocks, float[] row, float[] weights, int start)
    {
        float[] decoded = new float[format.BlockValues];
        format.Decode(blocks.AsSpan((int)format.RowBytes(start), format.BlockBytes), decoded);
        double error = 0;
        for (int i = 0; i < decoded.Length; i++) error += weights[start + i] * Math.Pow((double)row[start + i] - decoded[i], 2);
        return error;
    }

    // Rows of many kinds that ggml's goldens are of, and random ones.
    private static IEnumerable<(float[] Row, float[] Importance)> Samples(bool isWeighted)
    {
        float[] importance = MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(Testing.Fixtures.Golden("formats", "importance.f32"))).ToArray();
        float[] input = MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(Testing.Fixtures.Golden("formats", "input.f32"))).ToArray();
        for (int row = 0; row < 8; row++) yield return (input[(row * Columns)..((row + 1) * Columns)], importance);
        Random random = new(Seed);
        for (int row = 0; row < Rows; row++)
            yield return ([.. Enumerable.Range(0, Columns).Select(_ => (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble())) * (isWeighted ? 0.05f : 3))], [.. Enumerable.Range(0, Columns).Select(_ => MathF.Pow(10, 3 * random.NextSingle() - 2))]);
    }
}
