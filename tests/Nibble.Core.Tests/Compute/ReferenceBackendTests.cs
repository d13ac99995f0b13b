using Nibble.Core.Compute;
using Nibble.Core.Formats;

namespace Nibble.Core.Tests.Compute;

/// <summary>Each operation on numbers small enough to check by hand.</summary>
public sealed class ReferenceBackendTests : ReferenceTestBase
{
    [Fact]
    public void MatMul_multiplies_each_row_and_applies_the_scale()
    {
        // [1 2 3; 4 5 6] . [1 0 -1] = [-2 -2]; . [1 1 1] = [6 15]; times 2.
        Weight weight = Backend.Upload(new Matrix([1, 2, 3, 4, 5, 6], columns: 3, rows: 2), [2f]);
        Tensor x = Tensor([1, 0, -1, 1, 1, 1], 2, 3), y = Backend.Allocate(ElementType.Float32, 2, 2);
        Backend.MatMul(x, weight, y);
        Assert.Equal([-4, -4, 12, 30], Read(y));
    }

    [Fact]
    public void MatMul_of_several_weights_equals_each_alone()
    {
        Weight a = Backend.Upload(new Matrix([1, 2], columns: 2, rows: 1)), b = Backend.Upload(new Matrix([3, 4, 5, 6], columns: 2, rows: 2));
        Tensor both = Backend.Allocate(ElementType.Float32, 1, 3);
        Backend.MatMul(Tensor([10, 100], 1, 2), [a, b], [both.SliceColumns(0, 1), both.SliceColumns(1, 2)]);
        Assert.Equal([210, 430, 650], Read(both));
    }

    [Fact]
    public void Products_of_norms_and_of_gated_values_are_the_operations_one_after_the_other()
    {
        // The norm of [3 4] is [0.6 0.8] times sqrt(2) without an epsilon; gains 5 and 10 make it sqrt(2) [3 8].
        Weight sum = Backend.Upload(new Matrix([1, 1], columns: 2, rows: 1)), difference = Backend.Upload(new Matrix([1, -1, 2, 0], columns: 2, rows: 2)), gain = Backend.Upload(new Matrix([5, 10], columns: 2, rows: 1));
        Tensor x = Tensor([3, 4], 1, 2), both = Backend.Allocate(ElementType.Float32, 1, 3);
        Backend.MatMulNormed(x, new NormOptions(NormKind.Rms, 0), gain, null, Backend.Allocate(ElementType.Float32, 1, 2), [sum, difference], [both.SliceColumns(0, 1), both.SliceColumns(1, 2)]);
        Assert.Equal([11 * MathF.Sqrt(2), -5 * MathF.Sqrt(2), 6 * MathF.Sqrt(2)], Read(both), (a, b) => Math.Abs(a - b) < 1e-5);
        Assert.Equal([3, 4], Read(x));

        // relu([1 -1; 2 3]) x [10 10; 4 5] = [10 0; 8 15].
        Tensor gate = Tensor([1, -1, 2, 3], 2, 2), up = Tensor([10, 10, 4, 5], 2, 2), y = Backend.Allocate(ElementType.Float32, 2, 2), once = Backend.Allocate(ElementType.Float32, 2, 1);
        Backend.MatMulGated(Activation.Relu, gate, up, gate, difference, y);
        Assert.Equal([10, 20, -7, 16], Read(y));
        Weight experts = Backend.Upload(new Matrix([1, 1, 2, 0, 0, 3], columns: 2, rows: 1, matrices: 3), [1, 10, 100]);
        Backend.MatMulExpertsGated(Activation.Relu, Tensor([1, -1, 2, 3], 2, 2), up, up, experts, Ints([2, 1], 2, 1), once);
        Assert.Equal([0, 160], Read(once));
    }

    [Fact]
    public void MatMulExperts_uses_each_token_s_experts_and_their_scales()
    {
        // Three experts of one row: [1 1], [2 0], [0 3], scaled by 1, 10, 100.
        Weight weight = Backend.Upload(new Matrix([1, 1, 2, 0, 0, 3], columns: 2, rows: 1, matrices: 3), [1, 10, 100]);
        Tensor experts = Ints([2, 0, 1, 1], 2, 2), y = Backend.Allocate(ElementType.Float32, 4, 1);
        Backend.MatMulExperts(Tensor([1, 2, 3, 4], 2, 2), weight, experts, y);
        Assert.Equal([600, 3, 60, 60], Read(y));
        Backend.MatMulExperts(Tensor([1, 1, 1, 1, 2, 2, 3, 3], 4, 2), weight, experts, y);
        Assert.Equal([300, 2, 40, 60], Read(y));
    }

    [Fact]
    public void Route_takes_2_of_8_experts_and_normalizes_their_probabilities()
    {
        // Token 0: e^3 and e^2 win: weights e/(e+1) and 1/(e+1). Token 1: a tie of 0 and 5, the lower id goes first.
        Tensor logits = Tensor([0, 3, -1, 2, 1, 0, -5, 1, 4, 0, 0, 0, 0, 4, 0, 0], 2, 8);
        Tensor experts = Backend.Allocate(ElementType.Int32, 2, 2), weights = Backend.Allocate(ElementType.Float32, 2, 2);
        Backend.Route(logits, new Routing(2, Normalize: true, 1), null, experts, weights);
        Assert.Equal([1, 3], HostTensorBuffer.IntRow(experts, 0).ToArray());
        Assert.Equal([0, 5], HostTensorBuffer.IntRow(experts, 1).ToArray());
        float[] chosen = Read(weights);
        Assert.Equal(Math.E / (Math.E + 1), chosen[0], 1e-6);
        Assert.Equal(1 / (Math.E + 1), chosen[1], 1e-6);
        Assert.Equal(0.5, chosen[2], 1e-6);
        Assert.Equal(0.5, chosen[3], 1e-6);

        // Without normalizing: probabilities among all eight, times the scale. Sum of e^logit of token 0 by hand:
        double sum = 1 + Math.Exp(3) + Math.Exp(-1) + Math.Exp(2) + Math.E + 1 + Math.Exp(-5) + Math.E;
        Backend.Route(logits, new Routing(2, Normalize: false, 3), null, experts, weights);
        Assert.Equal(3 * Math.Exp(3) / sum, Read(weights)[0], 1e-6);
        Assert.Equal(3 * Math.Exp(2) / sum, Read(weights)[1], 1e-6);
    }

    [Fact]
    public void A_mixture_of_2_of_8_experts_equals_the_sum_computed_by_hand()
    {
        // Expert e multiplies by e + 1; router logits are the input times [0 1 2 3 4 5 6 7] / 10, so experts 7 and 6 win for a positive input.
        Weight router = Backend.Upload(new Matrix([0, 0.1f, 0.2f, 0.3f, 0.4f, 0.5f, 0.6f, 0.7f], columns: 1, rows: 8));
        Weight network = Backend.Upload(new Matrix([1, 2, 3, 4, 5, 6, 7, 8], columns: 1, rows: 1, matrices: 8));
        Tensor x = Tensor([10, -10], 2, 1), logits = Backend.Allocate(ElementType.Float32, 2, 8);
        Tensor experts = Backend.Allocate(ElementType.Int32, 2, 2), weights = Backend.Allocate(ElementType.Float32, 2, 2);
        Tensor products = Backend.Allocate(ElementType.Float32, 4, 1), y = Backend.Allocate(ElementType.Float32, 2, 1);
        Backend.MatMul(x, router, logits);
        Backend.Route(logits, new Routing(2, Normalize: true, 1), null, experts, weights);
        Backend.MatMulExperts(x, network, experts, products);
        Backend.Combine(products, weights, y);
        double high = Math.E / (Math.E + 1), low = 1 / (Math.E + 1);
        Assert.Equal(10 * ((8 * high) + (7 * low)), Read(y)[0], 1e-4);
        Assert.Equal(-10 * ((1 * high) + (2 * low)), Read(y)[1], 1e-4);
    }

    [Fact]
    public void Rms_norm_divides_by_the_root_mean_square()
    {
        // mean(3^2, 4^2) = 12.5; epsilon 12.5 makes the root 5.
        Tensor x = Tensor([3, 4], 1, 2);
        Backend.Norm(x, new NormOptions(NormKind.Rms, 12.5f), Backend.Upload(new Matrix([10, 100], columns: 2, rows: 1)), null, x);
        Assert.Equal([6, 80], Read(x).Select(value => MathF.Round(value, 4)));
    }

    [Theory]
    [InlineData(RopePairing.Adjacent, new float[] { -2, 1, -4, 3, 9 })]
    [InlineData(RopePairing.Halves, new float[] { -3, -4, 1, 2, 9 })]
    public void Rope_turns_pairs_by_their_angle_and_leaves_the_rest(RopePairing pairing, float[] expected)
    {
        // A quarter turn a position: (a, b) becomes (-b, a). The fifth value does not turn. At position 0 nothing does.
        RopeTable rope = new(pairing, [Math.PI / 2, Math.PI / 2], 1);
        Tensor x = Tensor([1, 2, 3, 4, 9, 1, 2, 3, 4, 9], 2, 5);
        Backend.Rope(x, 5, 0, rope);
        Assert.Equal([1, 2, 3, 4, 9, .. expected], Read(x).Select(value => MathF.Round(value, 5)));
    }

    [Fact]
    public void Attention_is_causal_shares_kv_heads_and_weighs_by_softmax()
    {
        // Two query heads on one KV head of size 1. Keys 0 and ln 3, values 10 and 20, scale 1.
        using KvCache cache = Backend.AllocateKv([new KvLayer(1, 1, 1)], 4, BlockFormats.F32, 4);
        Backend.StoreKv(Tensor([0, MathF.Log(3)], 2, 1), Tensor([10, 20], 2, 1), cache, 0, 0);
        Tensor y = Backend.Allocate(ElementType.Float32, 2, 2);
        Backend.Attention(Tensor([1, 0, 1, 0], 2, 2), cache, 0, 0, new AttentionOptions(2, 1), y);
        // Token 0 sees only itself. Token 1, head 0: weights 1/4 and 3/4; head 1: query 0, weights 1/2 and 1/2.
        Assert.Equal([10, 10, 17.5f, 15], Read(y).Select(value => MathF.Round(value, 4)));
    }

    [Theory]
    [InlineData(Activation.Silu, 1, 0.7310586)]
    [InlineData(Activation.Silu, -20, -4.122307e-8)]
    [InlineData(Activation.Gelu, 1, 0.84130859375)]
    [InlineData(Activation.Gelu, -1, -0.1588134765625)]
    public void GatedActivation_multiplies_the_activated_gate_by_up(Activation activation, float gate, double expected)
    {
        Tensor y = Backend.Allocate(ElementType.Float32, 1, 1);
        Backend.GatedActivation(activation, Tensor([gate], 1, 1), Tensor([2], 1, 1), y);
        Assert.Equal(2 * expected, Read(y)[0], 1e-6);
    }

    [Fact]
    public void Add_AddBias_Scale_and_GetRows_do_what_they_say()
    {
        Tensor y = Backend.Allocate(ElementType.Float32, 2, 2);
        Backend.Add(Tensor([1, 2, 3, 4], 2, 2), Tensor([10, 20, 30, 40], 2, 2), y);
        Assert.Equal([11, 22, 33, 44], Read(y));
        Backend.AddBias(y, Backend.Upload(new Matrix([1, -1], columns: 2, rows: 1), [3f]));
        Assert.Equal([14, 19, 36, 41], Read(y));
        Backend.Scale(y, 0.5f, y);
        Assert.Equal([7, 9.5f, 18, 20.5f], Read(y));
        Backend.GetRows(Backend.Upload(new Matrix([1, 2, 3, 4, 5, 6], columns: 2, rows: 3)), [2, 0], y);
        Assert.Equal([5, 6, 1, 2], Read(y));
    }

    [Fact]
    public void Wrong_shapes_are_refused_with_both_shapes()
    {
        Weight weight = Backend.Upload(new Matrix([1, 2, 3, 4, 5, 6], columns: 3, rows: 2));
        ArgumentException error = Assert.Throws<ArgumentException>(() => Backend.MatMul(Tensor([1, 2], 1, 2), weight, Tensor([0, 0], 1, 2)));
        Assert.Contains("[1 x 2]", error.Message, StringComparison.Ordinal);
        Assert.Contains("[1 x 3]", error.Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => Backend.MatMul(default, weight, Tensor([0, 0], 1, 2)));
        Assert.Throws<ArgumentException>(() => Backend.MatMul(Ints([1, 2, 3], 1, 3), weight, Tensor([0, 0], 1, 2)));
        Assert.Throws<ArgumentOutOfRangeException>(() => Backend.GetRows(weight, [2], Tensor([0, 0, 0], 1, 3)));
        Assert.Throws<ArgumentException>(() => Backend.Upload(new Matrix([1, 2], columns: 2, rows: 1), [1, 2]));
        Assert.Throws<ArgumentException>(() => Backend.Norm(Tensor([1, 2], 1, 2), new NormOptions(NormKind.Rms, 1), weight, null, Tensor([1, 2], 1, 2)));
        using KvCache cache = Backend.AllocateKv([new KvLayer(2, 1, 1)], 4, BlockFormats.F32, 4);
        Assert.Throws<ArgumentOutOfRangeException>(() => Backend.StoreKv(Tensor([1, 2], 1, 2), Tensor([1, 2], 1, 2), cache, 0, 4));
        Assert.Throws<ArgumentException>(() => Backend.Attention(Tensor([1, 2, 3], 1, 3), cache, 0, 0, new AttentionOptions(3, 1), Tensor([1, 2, 3], 1, 3)));
        Assert.Throws<ArgumentException>(() => Backend.AllocateKv([new KvLayer(1, 48, 64)], 4, BlockFormats.Q8_0, 4));
        Assert.Throws<ArgumentException>(() => Backend.AllocateKv([new KvLayer(1, 64, 64)], 4, BlockFormats.BF16, 4));
    }
}
