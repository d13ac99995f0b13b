using Nibble.Quantize.Calibration;
using Nibble.Quantize.Planning;

namespace Nibble.Quantize.Tests.Planning;

public class TensorCostTests
{
    private const int Rows = 6, Columns = 5;

    [Fact]
    public void The_loss_is_half_the_sum_of_each_row_s_weighted_squares()
    {
        Random random = new(3);
        TensorCost cost = Cost(random);
        float[] weights = Values(random, Rows * Columns), values = Values(random, Rows * Columns);
        double expected = 0;
        foreach (CostTerm term in cost.Terms)
            for (int row = 0; row < term.RowWeights.Length; row++)
                for (int i = 0; i < Columns; i++)
                    for (int j = 0; j < Columns; j++)
                    {
                        int at = (term.FirstRow + row) * Columns;
                        expected += 0.5 * term.RowWeights[row] * ((double)values[at + i] - weights[at + i]) * term.Hessian[(i * Columns) + j] * ((double)values[at + j] - weights[at + j]);
                    }

        Assert.Equal(expected, cost.Loss(weights, values), 1e-5 * expected);
        Assert.Equal(0, cost.Loss(weights, weights));
    }

    [Fact]
    public void A_group_is_rounded_with_the_sum_of_its_terms_by_their_rows_mean_weights()
    {
        TensorCost cost = Cost(new Random(3));
        Assert.Equal([(0, 2), (2, 4)], cost.Groups);
        float[] second = cost.Hessian(1);
        for (int i = 0; i < second.Length; i++)
            Assert.Equal((cost.Terms[1].RowWeights.Average() * cost.Terms[1].Hessian[i]) + (cost.Terms[2].RowWeights.Average() * cost.Terms[2].Hessian[i]), second[i], 1e-5);
    }

    [Fact]
    public void Rows_that_no_term_covers_and_shapes_that_do_not_fit_are_refused()
    {
        float[] hessian = new float[Columns * Columns];
        Assert.Contains("end at row 4", Assert.Throws<ArgumentException>(() => new TensorCost("x", Rows, Columns, [new(0, hessian, new float[4])])).Message, StringComparison.Ordinal);
        Assert.Contains("row 2", Assert.Throws<ArgumentException>(() => new TensorCost("x", Rows, Columns, [new(0, hessian, new float[3]), new(2, hessian, new float[4])])).Message, StringComparison.Ordinal);
        Assert.Contains("24 values", Assert.Throws<ArgumentException>(() => new TensorCost("x", Rows, Columns, [new(0, hessian[..24], new float[6])])).Message, StringComparison.Ordinal);
        Assert.Contains("6 rows of 5", Assert.Throws<ArgumentException>(() => Cost(new Random(1)).Loss(new float[30], new float[29])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_store_gives_back_what_was_written_and_refuses_what_is_damaged_or_of_another_run()
    {
        using TempFolder folder = new();
        string identity = new('a', 64);
        CostStore store = new(folder.Root, identity);
        TensorCost cost = Cost(new Random(5));
        Assert.False(store.IsComplete);
        Assert.False(store.Has(cost.Name));
        store.Write(cost);
        store.Complete();
        store.AddLoss(cost.Name, "Q4_K", "m", 0.25);
        CostStore again = new(folder.Root, identity);
        Assert.True(again.IsComplete && again.Has(cost.Name));
        Assert.Equal(0.25, again.Loss(cost.Name, "Q4_K", "m"));
        Assert.Null(again.Loss(cost.Name, "Q4_K", "other"));
        TensorCost read = again.Read(cost.Name);
        Assert.Equal((cost.Rows, cost.Columns, cost.Terms.Length), (read.Rows, read.Columns, read.Terms.Length));
        for (int i = 0; i < cost.Terms.Length; i++)
        {
            Assert.Equal(cost.Terms[i].FirstRow, read.Terms[i].FirstRow);
            Assert.Equal(cost.Terms[i].Hessian, read.Terms[i].Hessian);
            Assert.Equal(cost.Terms[i].RowWeights, read.Terms[i].RowWeights);
        }

        Assert.Contains("'none'", Assert.Throws<CalibrationException>(() => again.Read("none")).Message, StringComparison.Ordinal);
        string file = Directory.GetFiles(folder.Root, "*.gguf", SearchOption.AllDirectories).Single();
        // The same folder by the first half of its name, another run by the second.
        CostStore other = new(folder.Root, new string('a', 32) + new string('b', 32));
        Assert.Contains("Delete", Assert.Throws<CalibrationException>(() => other.Read(cost.Name)).Message, StringComparison.Ordinal);
        File.WriteAllBytes(file, File.ReadAllBytes(file)[..^40]);
        Assert.Contains("Delete", Assert.Throws<CalibrationException>(() => again.Read(cost.Name)).Message, StringComparison.Ordinal);
        // A line that a stopped run did not finish is passed over.
        File.AppendAllText(Directory.GetFiles(folder.Root, "*.jsonl", SearchOption.AllDirectories).Single(), "{\"tensor\":\"x");
        Assert.Equal(0.25, new CostStore(folder.Root, identity).Loss(cost.Name, "Q4_K", "m"));
        again.Delete();
        Assert.False(new CostStore(folder.Root, identity).IsComplete);
    }

    private static TensorCost Cost(Random random) =>
        new("blk.0.a/b.weight", Rows, Columns, [Term(random, 0, 2), Term(random, 2, 4), Term(random, 2, 4)]);

    private static CostTerm Term(Random random, int first, int rows)
    {
        float[] x = Values(random, Columns * Columns), hessian = new float[Columns * Columns];
        for (int i = 0; i < Columns; i++)
            for (int j = 0; j < Columns; j++)
                for (int k = 0; k < Columns; k++)
                    hessian[(i * Columns) + j] += x[(k * Columns) + i] * x[(k * Columns) + j];
        return new CostTerm(first, hessian, [.. Values(random, rows).Select(value => value * value)]);
    }

    private static float[] Values(Random random, int count) => [.. Enumerable.Range(0, count).Select(_ => (random.NextSingle() * 2) - 1)];
}
