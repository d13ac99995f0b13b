using Nibble.Quantize.Planning;

namespace Nibble.Quantize.Tests.Planning;

public class SizeBudgetTests
{
    [Theory]
    [InlineData("3277696", 3277696)]
    [InlineData("3GiB", 3L << 30)]
    [InlineData("1.5 MiB", 1572864)]
    [InlineData("3.2GB", 3_200_000_000)]
    [InlineData("12kB", 12000)]
    [InlineData("12 B", 12)]
    public void Sizes_are_read(string text, long bytes) => Assert.Equal(bytes, SizeBudget.ParseSize(text).Bytes);

    [Theory]
    [InlineData("")]
    [InlineData("GiB")]
    [InlineData("-3")]
    [InlineData("0")]
    [InlineData("0.4B")]
    [InlineData("3 gigs")]
    [InlineData("1e9")]
    public void What_is_no_size_is_refused(string text) => Assert.Contains($"'{text}'", Assert.Throws<FormatException>(() => SizeBudget.ParseSize(text)).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(33)]
    [InlineData(double.NaN)]
    public void Bits_are_bounded(double bits) => Assert.Throws<ArgumentOutOfRangeException>(() => SizeBudget.OfBits(bits));

    [Fact]
    public void Bits_are_of_the_tensors_and_bytes_of_the_file()
    {
        Assert.Equal(4500 - 777, SizeBudget.OfBits(4.5).TensorBytes(777, 8000));
        Assert.Equal(10000 - 777, SizeBudget.ParseSize("10000").TensorBytes(777, 8000));
    }
}
