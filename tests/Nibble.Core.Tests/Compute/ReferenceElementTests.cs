using Nibble.Core.Compute;
using Nibble.Core.Formats;

namespace Nibble.Core.Tests.Compute;

/// <summary>Norms, activations, limits, biases and convolutions on numbers small enough to check by hand.</summary>
public sealed class ReferenceElementTests : ReferenceTestBase
{
    [Fact]
    public void A_layer_norm_takes_the_mean_off_before_it_divides()
    {
        // Mean 2, variance 1, epsilon 3: divided by 2.
        Tensor x = Tensor([1, 3], 1, 2);
        Backend.Norm(x, new NormOptions(NormKind.Layer, 3), Vector(10, 100), Vector(1, 2), x);
        Assert.Equal([-4, 52], Read(x));
    }

    [Theory]
    [InlineData(1e-6f, 0.6f, 0.8f)]
    [InlineData(10f, 0.3f, 0.4f)]
    public void A_Euclidean_norm_divides_by_the_length_or_by_epsilon_where_that_is_greater(float epsilon, float first, float second)
    {
        Tensor x = Tensor([3, 4], 1, 2);
        Backend.Norm(x, new NormOptions(NormKind.Euclidean, epsilon), null, null, x);
        Assert.Equal([first, second], Read(x).Select(Round));
    }

    [Fact]
    public void Groups_are_normed_by_themselves_with_one_gain_for_all_or_one_for_each()
    {
        // Root mean squares 5 / sqrt 2 and 10 / sqrt 2, of the second row 1 and 2.
        Tensor x = Tensor([3, 4, 6, 8, 1, 1, 2, -2], 2, 4), y = Backend.Allocate(ElementType.Float32, 2, 4);
        NormOptions options = new(NormKind.Rms, 0, 2);
        float root = MathF.Sqrt(2);
        Backend.Norm(x, options, null, null, y);
        Assert.Equal([Round(0.6f * root), Round(0.8f * root), Round(0.6f * root), Round(0.8f * root), 1, 1, 1, -1], Read(y).Select(Round));
        Backend.Norm(x, options, Vector(1, 2), Vector(0, 10), y);
        Assert.Equal([1, 12, 1, 8], Read(y)[4..]);
        Backend.Norm(x, options, Vector(1, 2, 3, 4), Vector(0, 10, 20, 30), y);
        Assert.Equal([1, 12, 23, 26], Read(y)[4..]);
        Backend.Norm(x, options, Backend.Upload(new Matrix([1, 2, 3, 4], columns: 2, rows: 2), [10f]), null, y);
        Assert.Equal([10, 20, 30, -40], Read(y)[4..]);

        NormOptions layer = new(NormKind.Layer, 0, 2);
        Backend.Norm(x, layer, null, null, y);
        Assert.Equal([-1, 1, -1, 1], Read(y)[..4]);
    }

    [Fact]
    public void Norms_of_groups_or_vectors_that_do_not_fit_are_refused()
    {
        Tensor x = Tensor([1, 2, 3, 4], 1, 4);
        Assert.Throws<ArgumentException>(() => Backend.Norm(x, new NormOptions(NormKind.Rms, 0, 3), null, null, x));
        Assert.Throws<ArgumentException>(() => Backend.Norm(x, new NormOptions(NormKind.Rms, 0, -2), null, null, x));
        Assert.Throws<ArgumentException>(() => Backend.Norm(x, new NormOptions(NormKind.Rms, 0, 2), Vector(1, 2, 3), null, x));
        Assert.Throws<ArgumentException>(() => Backend.Norm(x, new NormOptions(NormKind.Rms, 0), null, Vector(1, 2), x));
    }

    // Values by Python's math module.
    [Theory]
    [InlineData(Activation.Identity, -3, -3)]
    [InlineData(Activation.Silu, 1, 0.7310585786)]
    [InlineData(Activation.Gelu, -1, -0.1588134765625)]
    [InlineData(Activation.Relu, -3, 0)]
    [InlineData(Activation.Relu, 3, 3)]
    [InlineData(Activation.ReluSquared, -3, 0)]
    [InlineData(Activation.ReluSquared, 3, 9)]
    [InlineData(Activation.Sigmoid, 1, 0.7310585786)]
    [InlineData(Activation.Sigmoid, -20, 2.061153618e-9)]
    [InlineData(Activation.Softplus, 1, 1.313261688)]
    [InlineData(Activation.Softplus, -5, 0.006715348489)]
    [InlineData(Activation.Softplus, 30, 30)]
    public void Activate_applies_the_activation_alone_and_GatedActivation_to_the_gate(Activation activation, float x, double expected)
    {
        Tensor y = Tensor([x], 1, 1);
        Backend.Activate(activation, y, y);
        Assert.Equal(expected, Read(y)[0], 1e-6);
        Backend.GatedActivation(activation, Tensor([x], 1, 1), Tensor([-2], 1, 1), y);
        Assert.Equal(-2 * expected, Read(y)[0], 2e-6);
    }

    // Gate and up below, at and past their limits of 7; values by Python's math module.
    [Theory]
    [InlineData(10, 9, 55.99962503)]
    [InlineData(1, -9, -5.074774596)]
    [InlineData(-2, 0.5, -0.09651206528)]
    public void The_gate_of_gpt_oss_limits_both_and_adds_one_to_up(float gate, float up, double expected)
    {
        Tensor y = Tensor([0], 1, 1);
        Backend.GatedActivation(Activation.SwigluOai, Tensor([gate], 1, 1), Tensor([up], 1, 1), y);
        Assert.Equal(expected, Read(y)[0], 4e-6);
        Assert.Throws<ArgumentException>(() => Backend.Activate(Activation.SwigluOai, y, y));
    }

    [Fact]
    public void Clamp_SoftCap_and_Copy_do_what_they_say()
    {
        Tensor x = Tensor([-5, 2, 0, 9], 2, 2), y = Backend.Allocate(ElementType.Float32, 2, 2);
        Backend.Clamp(x, 3, y);
        Assert.Equal([-3, 2, 0, 3], Read(y));
        Backend.SoftCap(x, 2, y);
        Assert.Equal([-1.973229, 1.523188, 0, 1.999506], Read(y).Select(value => Math.Round(value, 6))); // 2 tanh(-2.5), 2 tanh 1, 0, 2 tanh 4.5
        Backend.Copy(x.SliceColumns(1, 1), y.SliceColumns(0, 1));
        Assert.Equal([2, 1.523188, 9, 1.999506], Read(y).Select(value => Math.Round(value, 6)));
        Assert.Throws<ArgumentOutOfRangeException>(() => Backend.Clamp(x, 0, y));
        Assert.Throws<ArgumentOutOfRangeException>(() => Backend.SoftCap(x, -1, y));
    }

    [Fact]
    public void AddExpertBias_adds_the_row_of_each_token_s_experts()
    {
        // Biases [1 2], [10 20], [100 200] times 3.
        Weight biases = Backend.Upload(new Matrix([1, 2, 10, 20, 100, 200], columns: 2, rows: 3), [3f]);
        Tensor x = Tensor([0, 0, 1, 1, 2, 2, 3, 3], 4, 2);
        Backend.AddExpertBias(x, biases, Ints([2, 0, 0, 1], 2, 2));
        Assert.Equal([300, 600, 4, 7, 5, 8, 33, 63], Read(x));
    }

    [Fact]
    public void Convolve_sees_the_state_and_leaves_the_last_rows_in_it()
    {
        // Channel 0 takes 1, 10 and 100 times the oldest to the newest row, channel 1 the newest alone.
        Weight kernel = Backend.Upload(new Matrix([1, 10, 100, 0, 0, 1], columns: 3, rows: 2));
        Tensor state = Tensor([1, 5, 2, 6], 2, 2), y = Backend.Allocate(ElementType.Float32, 2, 2);
        Tensor x = Tensor([3, 7, 4, 8], 2, 2);
        Backend.Convolve(x, kernel, null, Activation.Identity, state, y);
        Assert.Equal([321, 7, 432, 8], Read(y));
        Assert.Equal([3, 7, 4, 8], Read(state));

        // A token at a time, with a bias and an activation.
        Backend.Write([1f, 5, 2, 6], state);
        Backend.Convolve(x.SliceRows(0, 1), kernel, Vector(0.5f, -10), Activation.Relu, state, y.SliceRows(0, 1));
        Assert.Equal([2, 6, 3, 7], Read(state));
        Backend.Convolve(x.SliceRows(1, 1), kernel, Vector(0.5f, -7.5f), Activation.Relu, state, y.SliceRows(1, 1));
        Assert.Equal([321.5f, 0, 432.5f, 0.5f], Read(y));
        Assert.Equal([3, 7, 4, 8], Read(state));
    }

    [Fact]
    public void Rope_with_an_offset_leaves_the_first_values_of_each_head()
    {
        RopeTable rope = new(RopePairing.Halves, [Math.PI / 2, Math.PI / 2], 2, offset: 1);
        Tensor x = Tensor([9, 1, 2, 3, 4, 8, 5, 6, 7, 8], 1, 10);
        Backend.Rope(x, 5, 1, rope);
        Assert.Equal([9, -6, -8, 2, 4, 8, -14, -16, 10, 12], Read(x).Select(Round));
        Assert.Throws<ArgumentException>(() => Backend.Rope(x, 5, 0, new RopeTable(RopePairing.Halves, [1, 1], 1, offset: 2)));
    }

    private static float Round(float value) => MathF.Round(value, 4);
}
