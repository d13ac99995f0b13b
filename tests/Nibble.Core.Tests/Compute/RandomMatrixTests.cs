using Nibble.Core.Compute;
using Nibble.Core.Formats;

namespace Nibble.Core.Tests.Compute;

/// <summary>Matrices of random codes.</summary>
public class RandomMatrixTests
{
    [Fact]
    public void A_seed_gives_the_same_matrix_each_time_and_another_one_another()
    {
        using RandomMatrix first = new(BlockFormats.Q4_K, 3, 512, 5), same = new(BlockFormats.Q4_K, 3, 512, 5), other = new(BlockFormats.Q4_K, 3, 512, 6), copy = first.Copy();
        for (int row = 0; row < 3; row++)
        {
            Assert.Equal(first.Row(row), same.Row(row));
            Assert.Equal(first.Row(row), copy.Row(row));
            for (int another = 0; another < 3; another++)
                Assert.False(first.Row(row).SequenceEqual(other.Row(another)));
        }

        Assert.False(first.Row(0).SequenceEqual(first.Row(1)));
        Assert.False(first.Row(0).Overlaps(copy.Row(0)));
    }

    [Fact]
    public void Values_have_the_deviation_of_a_trained_matrix()
    {
        using RandomMatrix matrix = new(BlockFormats.Q8_0, 64, 1024);
        float[] row = new float[1024];
        double squares = 0;
        for (int r = 0; r < 64; r++)
        {
            matrix.Format.Decode(matrix.Row(r), row);
            squares += row.Sum(value => (double)value * value);
        }

        Assert.InRange(Math.Sqrt(squares / (64 * 1024)) * 32, 0.95, 1.05);
    }

    [Fact]
    public void Columns_that_are_no_whole_blocks_are_refused() =>
        Assert.Throws<ArgumentException>(() => new RandomMatrix(BlockFormats.Q4_K, 2, 300));
}
