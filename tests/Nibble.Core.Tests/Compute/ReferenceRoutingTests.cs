using Nibble.Core.Compute;

namespace Nibble.Core.Tests.Compute;

/// <summary>The choice of experts by every gating function, with biases and groups.</summary>
public sealed class ReferenceRoutingTests : ReferenceTestBase
{
    [Fact]
    public void A_sigmoid_each_is_divided_by_the_sum_of_the_chosen()
    {
        // Sigmoids of 0, ln 3 and -ln 3: 1/2, 3/4 and 1/4.
        Check(new Routing(2, false, 2, GatingFunction.Sigmoid), null, [0, MathF.Log(3), -MathF.Log(3)], [1, 0], [1.5, 1]);
        Check(new Routing(2, true, 1, GatingFunction.Sigmoid), null, [0, MathF.Log(3), -MathF.Log(3)], [1, 0], [0.6, 0.4]);
    }

    [Fact]
    public void A_sum_near_zero_is_taken_as_2_to_the_minus_14()
    {
        // Sigmoid of -20: 2.0611536e-9.
        Check(new Routing(1, true, 1, GatingFunction.Sigmoid), null, [-20, -21], [0], [2.0611536e-9 * 16384]);
    }

    [Fact]
    public void Softmax_of_the_chosen_alone_sums_to_the_scale()
    {
        double share = Math.E / (Math.E + 1);
        foreach (bool normalize in new[] { false, true })
            Check(new Routing(2, normalize, 3, GatingFunction.SoftmaxOfChosen), null, [1, 3, -5, 2], [1, 3], [3 * share, 3 * (1 - share)]);
    }

    [Fact]
    public void The_root_of_softplus_is_taken_of_each_logit()
    {
        // sqrt(ln(1 + e^x)) of 0: sqrt(ln 2) = 0.8325546; of 1: sqrt 1.3132617 = 1.1459763; of 25: 5.
        Check(new Routing(3, false, 1, GatingFunction.SqrtSoftplus), null, [0, 1, 25], [2, 1, 0], [5, 1.1459763, 0.8325546]);
    }

    [Fact]
    public void A_bias_chooses_and_does_not_weigh()
    {
        // Probabilities 1/2, 3/4, 1/4 with 0.3 added to the last two: 0.5, 1.05, 0.55.
        Check(new Routing(2, false, 1, GatingFunction.Sigmoid), [0, 0.3f, 0.3f], [0, MathF.Log(3), -MathF.Log(3)], [1, 2], [0.75, 0.25]);
        Check(new Routing(1, false, 1, GatingFunction.SoftmaxOfChosen), [0, 0, 9], [1, 2, 0], [2], [1]);
    }

    [Fact]
    public void Only_the_groups_with_the_best_pairs_are_looked_at()
    {
        // Groups of 3: 9 alone (9 + 0), a pair of 5 (10), a pair of 4 and 7 (11), 1s. The best expert, 0, is in a group that is dropped.
        Routing routing = new(3, false, 1, GatingFunction.SoftmaxOfChosen) { Groups = 4, GroupsUsed = 2 };
        float[] logits = [9, 0, -1, 5, 5, 2, 4, 7, 3, 1, 1, 1];
        double sum = 1 + (2 * Math.Exp(-2));
        Check(routing, null, logits, [7, 3, 4], [1 / sum, Math.Exp(-2) / sum, Math.Exp(-2) / sum]);

        // A bias counts: with 2 more for expert 1, group 0 has 9 + 2 and goes before group 1.
        Check(routing with { GroupsUsed = 1 }, [0, 2.5f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], logits, [0, 1, 2], Softmax(9, 0, -1));

        // Groups of one expert count what it does; of equal groups the first one stays.
        Check(new Routing(2, false, 1, GatingFunction.SoftmaxOfChosen) { Groups = 3, GroupsUsed = 2 }, null, [1, 2, 1], [1, 0], Softmax(2, 1));
    }

    [Fact]
    public void Infinite_logits_outdo_all_others_of_their_group_and_NaN_none()
    {
        const float Most = float.PositiveInfinity, None = float.NaN;

        // Groups of 2 that all have an infinite logit, beside which there is no number; of equals the first one stays. What is infinite has no softmax.
        Routing routing = new(2, false, 1, GatingFunction.SoftmaxOfChosen) { Groups = 3, GroupsUsed = 1 };
        Check(routing, null, [Most, None, Most, -Most, None, Most], [0, 1], [double.NaN, double.NaN]);

        // Sigmoids of infinities are 1 and 0; a group without a number is dropped first.
        Check(routing with { Gating = GatingFunction.Sigmoid }, null, [None, None, Most, -Most, 0, 0], [2, 3], [1, 0]);
        Check(routing with { Gating = GatingFunction.Sigmoid, GroupsUsed = 2 }, null, [None, None, 0, 1, Most, -Most], [4, 3], [1, 1 / (1 + Math.Exp(-1))]);

        // Where one weight is NaN their sum is, and all become so.
        Check(new Routing(2, true, 1, GatingFunction.Sigmoid), null, [None, 0, 1], [0, 2], [double.NaN, double.NaN]);
    }

    [Fact]
    public void Impossible_groups_are_refused()
    {
        float[] logits = [1, 2, 3, 4];
        Assert.Throws<ArgumentException>(() => Route(new Routing(1, false, 1) { Groups = 3, GroupsUsed = 1 }, null, logits));
        Assert.Throws<ArgumentException>(() => Route(new Routing(1, false, 1) { Groups = 2, GroupsUsed = 3 }, null, logits));
        Assert.Throws<ArgumentException>(() => Route(new Routing(3, false, 1) { Groups = 2, GroupsUsed = 1 }, null, logits));
        Assert.Throws<ArgumentException>(() => Route(new Routing(1, false, 1), [1, 2], logits));
        Assert.Throws<ArgumentOutOfRangeException>(() => Route(new Routing(1, false, 1, (GatingFunction)9), null, logits));
    }

    private static double[] Softmax(params double[] values)
    {
        double sum = values.Sum(Math.Exp);
        return [.. values.Select(value => Math.Exp(value) / sum)];
    }

    private void Check(Routing routing, float[]? bias, float[] logits, int[] ids, double[] weights)
    {
        (int[] chosen, float[] shares) = Route(routing, bias, logits);
        Assert.Equal(ids, chosen);
        for (int i = 0; i < weights.Length; i++)
            Assert.True(double.IsNaN(weights[i]) ? float.IsNaN(shares[i]) : Math.Abs(shares[i] - weights[i]) <= 2e-6 * weights[i], $"weight {i}: {shares[i]} instead of {weights[i]}");
    }

    private (int[] Ids, float[] Weights) Route(Routing routing, float[]? bias, float[] logits)
    {
        Tensor experts = Backend.Allocate(ElementType.Int32, 1, routing.Used), weights = Backend.Allocate(ElementType.Float32, 1, routing.Used);
        Backend.Route(Tensor(logits, 1, logits.Length), routing, bias is null ? null : Vector(bias), experts, weights);
        return (HostTensorBuffer.IntRow(experts, 0).ToArray(), Read(weights));
    }
}
