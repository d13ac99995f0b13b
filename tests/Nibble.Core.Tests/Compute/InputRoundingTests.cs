using Nibble.Core.Compute;
using Xunit;

namespace Nibble.Core.Tests.Compute;

/// <summary>Activations rounded to multiples of a stored scale.</summary>
public class InputRoundingTests
{
    [Fact]
    public void Values_become_the_nearest_multiple_within_127_of_them()
    {
        float[] x = [0, 0.24f, 0.25f, 0.75f, 0.76f, -0.25f, -0.75f, 63.4f, 63.5f, 64, -1e30f, float.MaxValue, float.NaN, float.PositiveInfinity], rounded = new float[x.Length];
        InputRounding.Round(x, 0.5f, rounded);
        Assert.Equal([0, 0, 0, 1, 1, -0f, -1, 63.5f, 63.5f, 63.5f, -63.5f, 63.5f, float.NaN, float.NaN], rounded);
    }

    [Fact]
    public void A_scale_out_of_bounds_and_too_little_room_are_refused()
    {
        foreach (float scale in (float[])[0, -1, 1e-31f, 2e12f, float.NaN, float.PositiveInfinity])
            Assert.Throws<ArgumentOutOfRangeException>(() => InputRounding.Round([1], scale, new float[1]));
        Assert.Throws<ArgumentException>(() => InputRounding.Round([1], 1, new float[2]));
    }
}
