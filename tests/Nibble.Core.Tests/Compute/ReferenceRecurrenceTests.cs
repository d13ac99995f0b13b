using Nibble.Core.Compute;

namespace Nibble.Core.Tests.Compute;

/// <summary>The recurrences of the reference by hand.</summary>
public sealed class ReferenceRecurrenceTests : ReferenceTestBase
{
    [Fact]
    public void DeltaRule_decays_corrects_and_reads_the_state()
    {
        // f = e^(-ln 2) = 1/2 for both tokens. S = 0; delta = 0.5 (2 - 0) = 1; S = [1 0]; y = 1/sqrt(2). Then S = [0.5 0]; S k = 0.3; delta = 1 - 0.3; S = [0.5 0] + 0.7 [0.6 0.8].
        Weight rates = Backend.Upload(new Matrix([-1], columns: 1, rows: 1));
        Tensor state = Tensor([0, 0], 1, 2), y = Backend.Allocate(ElementType.Float32, 2, 1), steps = Tensor([MathF.Log(2), MathF.Log(2)], 2, 1);
        Backend.DeltaRule(Tensor([1, 1, 1, 0], 2, 2), Tensor([1, 0, 0.6f, 0.8f], 2, 2), Tensor([2, 1], 2, 1), steps, rates, Tensor([0.5f, 1], 2, 1), false, state, y);
        AssertClose([1 / Math.Sqrt(2), 0.92 / Math.Sqrt(2)], Read(y));
        AssertClose([0.92, 0.56], Read(state));

        // A step for each value of the key: f = [1/2 1/4], and nothing is added with beta 0.
        steps = Tensor([MathF.Log(2), MathF.Log(4)], 1, 2);
        Backend.DeltaRule(Tensor([1, 0], 1, 2), Tensor([1, 0], 1, 2), Tensor([5], 1, 1), steps, rates, Tensor([0], 1, 1), false, state, y.SliceRows(0, 1));
        AssertClose([0.46, 0.14], Read(state));
    }

    [Theory]
    [InlineData(false, new float[] { 1, 1, 2, 2 })]
    [InlineData(true, new float[] { 1, 2, 1, 2 })]
    public void DeltaRule_shares_key_heads_in_turn_or_side_by_side(bool isInterleaved, float[] expected)
    {
        // Heads of one value: from an empty state, beta 1 and value 1 give y = key x query.
        Weight rates = Backend.Upload(new Matrix([-1, -1, -1, -1], columns: 1, rows: 4));
        Tensor ones = Tensor([1, 1, 1, 1], 1, 4), state = Tensor([0, 0, 0, 0], 4, 1), y = Backend.Allocate(ElementType.Float32, 1, 4);
        Backend.DeltaRule(Tensor([1, 1], 1, 2), Tensor([1, 2], 1, 2), ones, ones, rates, ones, isInterleaved, state, y);
        Assert.Equal(expected, Read(y));
    }

    [Fact]
    public void StateSpaceScan_decays_adds_and_reads_the_state()
    {
        // e^(-ln 2 x 1) = 1/2, B = [1 2], C = [1 1], skip 1/2. x = 3: s = [3 6], y = 9 + 1.5. x = 1: s = [2.5 5], y = 7.5 + 0.5.
        Tensor x = Tensor([3, 1], 2, 1), steps = Tensor([1, 1], 2, 1), b = Tensor([1, 2, 1, 2], 2, 2), c = Tensor([1, 1, 1, 1], 2, 2), state = Tensor([0, 0], 1, 2);
        Tensor y = Backend.Allocate(ElementType.Float32, 2, 1);
        Weight half = Backend.Upload(new Matrix([0.5f], columns: 1, rows: 1));
        Backend.StateSpaceScan(x, steps, Backend.Upload(new Matrix([-MathF.Log(2)], columns: 1, rows: 1)), b, c, half, state, y);
        AssertClose([10.5, 8], Read(y));
        AssertClose([2.5, 5], Read(state));

        // A rate for each value of the state: [1/2 1/4]. s = [1.25 1.25] + 2 x 3 [1 2] with step 2 and halved rates.
        Weight rates = Backend.Upload(new Matrix([-MathF.Log(2) / 2, -MathF.Log(4) / 2], columns: 2, rows: 1));
        Backend.StateSpaceScan(x.SliceRows(0, 1), Tensor([2], 1, 1), rates, b.SliceRows(0, 1), c.SliceRows(0, 1), half, state, y.SliceRows(0, 1));
        AssertClose([7.25, 13.25], Read(state));
        AssertClose([22], Read(y.SliceRows(0, 1)));
    }

    [Fact]
    public void Neighbouring_heads_of_a_state_space_share_a_group()
    {
        // From an empty state, x = B's value: y = step x B C; C is 1. Groups have B 1 and 10.
        Tensor ones = Tensor([1, 1, 1, 1], 1, 4), state = Tensor([0, 0, 0, 0], 4, 1), y = Backend.Allocate(ElementType.Float32, 1, 4);
        Weight rates = Backend.Upload(new Matrix([-1, -1, -1, -1], columns: 4, rows: 1)), none = Backend.Upload(new Matrix([0, 0, 0, 0], columns: 4, rows: 1));
        Backend.StateSpaceScan(ones, ones, rates, Tensor([1, 10], 1, 2), Tensor([1, 1], 1, 2), none, state, y);
        Assert.Equal([1, 1, 10, 10], Read(y));
    }

    [Fact]
    public void Recurrent_operations_refuse_shapes_that_do_not_fit()
    {
        Tensor ones = Tensor([1, 1, 1], 1, 3), state = Tensor([0, 0, 0], 3, 1), pair = Tensor([1, 1], 1, 2);
        Weight three = Backend.Upload(new Matrix([-1, -1, -1], columns: 3, rows: 1)), two = Backend.Upload(new Matrix([-1, -1], columns: 2, rows: 1));
        Assert.Throws<ArgumentException>(() => Backend.DeltaRule(pair, pair, ones, ones, three, ones, false, state, ones));
        Assert.Throws<ArgumentException>(() => Backend.DeltaRule(ones, ones, ones, ones, two, ones, false, state, ones));
        Assert.Throws<ArgumentException>(() => Backend.StateSpaceScan(ones, ones, three, pair, pair, three, state, ones));
        Assert.Throws<ArgumentException>(() => Backend.StateSpaceScan(ones, ones, two, ones, ones, three, state, ones));
    }

    private static void AssertClose(double[] expected, float[] actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
            Assert.Equal(expected[i], actual[i], 1e-6 * Math.Max(1, Math.Abs(expected[i])));
    }
}
