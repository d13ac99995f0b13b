using Nibble.Core.Formats;
using Nibble.Quantize.Methods;

namespace Nibble.Quantize.Tests.Methods;

public sealed class BlockGridTests
{
    private const int Rows = 12;
    private const int Columns = 512;

    private static readonly LayerHessian s_hessian = new(MethodData.Hessian(Columns, 3), Columns);

    public static TheoryData<string> Formats => [.. BlockFormats.All.Where(BlockGrid.Supports).Select(format => format.Name)];

    [Fact]
    public void Twelve_formats_have_grids() =>
        Assert.Equal(["IQ4_NL", "IQ4_XS", "Q2_K", "Q3_K", "Q4_0", "Q4_1", "Q4_K", "Q5_0", "Q5_1", "Q5_K", "Q6_K", "Q8_0"], Formats.Select(row => row.Data).Order(StringComparer.Ordinal));

    [Theory]
    [MemberData(nameof(Formats))]
    public void Blocks_decode_to_the_values_that_were_promised_whatever_the_weights(string name)
    {
        BlockFormat format = BlockFormats.All.Single(one => one.Name == name);
        float[] weights = MethodData.Weights(Rows, Columns, 5);
        weights.AsSpan(0, Columns).Clear();
        weights.AsSpan(Columns, 64).Clear();
        for (int i = 0; i < Columns; i++)
        {
            weights[(2 * Columns) + i] *= 1e-7f;
            weights[(3 * Columns) + i] *= 3e4f;
            weights[(4 * Columns) + i] = MathF.Abs(weights[(4 * Columns) + i]);
            weights[(5 * Columns) + i] = -MathF.Abs(weights[(5 * Columns) + i]);
            weights[(6 * Columns) + i] = 0.25f;
        }

        weights[(7 * Columns) + 9] = 40;
        foreach (int rounds in (int[])[0, 2])
        {
            BlockGrid grid = new(Rows, Columns, format);
            float[] solved = Gptq.Quantize(weights, s_hessian, grid, rounds), decoded = new float[Columns];
            Assert.Equal(MethodData.Values(grid), solved);
            byte[] blocks = new byte[format.RowBytes(Columns)];
            for (int row = 0; row < Rows; row++)
            {
                grid.Pack(row, blocks);
                format.Decode(blocks, decoded);
                Assert.Equal(solved.AsSpan(row * Columns, Columns).ToArray(), decoded);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void Loss_is_below_that_of_the_encoder_with_importances_and_refinement_lowers_it(string name)
    {
        BlockFormat format = BlockFormats.All.Single(one => one.Name == name);
        float[] weights = MethodData.Weights(Rows, Columns, 6), importance = MethodData.Diagonal(s_hessian), encoded = new float[weights.Length];
        byte[] blocks = new byte[format.RowBytes(Columns)];
        for (int row = 0; row < Rows; row++)
        {
            format.EncodeRow(weights.AsSpan(row * Columns, Columns), importance, blocks);
            format.Decode(blocks, encoded.AsSpan(row * Columns, Columns));
        }

        double usual = s_hessian.Loss(weights, encoded), usualError = Error(encoded), nearestError = Error(MethodData.Nearest(weights, s_hessian, new BlockGrid(Rows, Columns, format)));
        double plain = s_hessian.Loss(weights, Gptq.Quantize(weights, s_hessian, new BlockGrid(Rows, Columns, format), 0));
        double refined = s_hessian.Loss(weights, Gptq.Quantize(weights, s_hessian, new BlockGrid(Rows, Columns, format)));
        string figures = $"weighted error of the encoder {usualError}, of the nearest {nearestError}; loss of the encoder {usual}, GPTQ {plain}, refined {refined}";
        Assert.True(nearestError < usualError * 1.01, figures);
        Assert.True(plain < usual * 0.6, figures);
        Assert.True(refined < plain * 0.95, figures);

        double Error(float[] values) => weights.Select((weight, i) => importance[i % Columns] * Math.Pow(values[i] - weight, 2)).Sum();
    }

    [Fact]
    public void What_does_not_fit_is_named()
    {
        Assert.Contains("MXFP4", Assert.Throws<ArgumentException>(() => new BlockGrid(1, 256, BlockFormats.MXFP4)).Message, StringComparison.Ordinal);
        Assert.Contains("Rows of 576", Assert.Throws<ArgumentException>(() => new BlockGrid(1, 576, BlockFormats.Q4_K)).Message, StringComparison.Ordinal);
        BlockGrid grid = new(1, 256, BlockFormats.Q4_K);
        Assert.Contains("takes 144", Assert.Throws<ArgumentException>(() => grid.Pack(0, new byte[143])).Message, StringComparison.Ordinal);
        Assert.Throws<NotSupportedException>(() => BlockFormats.MXFP4.Pack(new BlockParts { Codes = new byte[32] }, new byte[17]));
        Assert.Throws<ArgumentException>(() => BlockFormats.Q4_0.Pack(new BlockParts { Codes = new byte[31] }, new byte[18]));
    }
}
