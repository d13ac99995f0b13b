using Nibble.Core.Encodings;

namespace Nibble.Core.Tests.Encodings;

public sealed class RandomEncodingsTests
{
    public static TheoryData<string> Names => [.. RandomEncodings.Names];

    [Theory]
    [MemberData(nameof(Names))]
    public void Values_are_finite_and_spread_as_asked(string name)
    {
        TensorEncoding encoding = RandomEncodings.Find(name.ToUpperInvariant(), 512, 300)!;
        Assert.Equal(name, EncodedFormat.Of(encoding).Name);
        EncodedTensor tensor = RandomEncodings.Create(encoding, 5);
        float[] row = new float[512];
        double sum = 0, squares = 0;
        for (int r = 0; r < 300; r++)
        {
            tensor.DecodeRow(r, row);
            foreach (float value in row)
                (sum, squares) = (sum + value, squares + ((double)value * value));
        }

        double count = 512 * 300, deviation = 1 / Math.Sqrt(512);
        Assert.InRange(Math.Sqrt(squares / count) / deviation, 0.97, 1.03);

        // Whole numbers of an even number of values have a mean of half a step below zero.
        Assert.InRange(sum / count / deviation, -0.22, 0.05);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void A_seed_gives_its_values_and_another_others(string name)
    {
        TensorEncoding encoding = RandomEncodings.Find(name, 256, 3)!;
        Assert.Equal(Row(7), Row(7));
        Assert.NotEqual(Row(7), Row(8));

        float[] Row(int seed)
        {
            float[] row = new float[256];
            RandomEncodings.Create(encoding, seed).DecodeRow(2, row);
            return row;
        }
    }

    [Fact]
    public void Other_names_are_none_and_columns_that_groups_do_not_divide_are_refused()
    {
        Assert.Null(RandomEncodings.Find("int4_g100", 200, 2));
        Assert.Contains("groups of 128 do not divide", Assert.Throws<ArgumentException>(() => RandomEncodings.Create(RandomEncodings.Find("int4_g128", 96, 2)!)).Message, StringComparison.Ordinal);
    }
}
