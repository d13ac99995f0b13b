namespace Nibble.Core.Compute;

/// <summary>The choice of one token's experts, for backends that make it on the host: there are few experts, and the order of equals matters.</summary>
/// <remarks>Groups: DeepSeek-V3, arXiv 2412.19437; clamp of the sum and order of steps: llama.cpp v0.5.0, build_moe_ffn.</remarks>
public static class RoutingMath
{
    private const float LeastSum = 1f / (1 << 14);

    /// <summary>Turns a token's logits into what experts are chosen and weighed by.</summary>
    /// <param name="gating">The function.</param>
    /// <param name="values">[experts], changed in place.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such function.</exception>
    public static void Gate(GatingFunction gating, Span<float> values)
    {
        switch (gating)
        {
            case GatingFunction.Softmax:
                Softmax(values);
                break;
            case GatingFunction.Sigmoid:
                foreach (ref float value in values)
                    value = 1 / (1 + MathF.Exp(-value));
                break;
            case GatingFunction.SoftmaxOfChosen:
                break;
            case GatingFunction.SqrtSoftplus:
                foreach (ref float value in values)
                    value = MathF.Sqrt(value > 20 ? value : MathF.Log(1 + MathF.Exp(value)));
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(gating), gating, "there is no such gating function.");
        }
    }

    /// <summary>Chooses experts by rank, and weighs them.</summary>
    /// <param name="routing">How.</param>
    /// <param name="ranks">[experts] what they are chosen by; overwritten.</param>
    /// <param name="values">[experts] what they are weighed by.</param>
    /// <param name="ids">[used] overwritten, the best first.</param>
    /// <param name="weights">[used] overwritten.</param>
    public static void Choose(in Routing routing, Span<float> ranks, ReadOnlySpan<float> values, Span<int> ids, Span<float> weights)
    {
        if (routing.Groups > 1) KeepBestGroups(routing, ranks);
        float sum = 0;
        for (int i = 0; i < ids.Length; i++)
        {
            int best = -1;
            for (int e = 0; e < ranks.Length; e++)
                if ((best < 0 || ranks[e] > ranks[best]) && !ids[..i].Contains(e)) best = e;
            ids[i] = best;
            weights[i] = values[best];
            sum += values[best];
        }

        if (routing.Gating == GatingFunction.SoftmaxOfChosen)
        {
            Softmax(weights);
            sum = 1;
        }

        float factor = routing.Normalize ? routing.Scale / MathF.Max(sum, LeastSum) : routing.Scale;
        foreach (ref float weight in weights)
            weight *= factor;
    }

    // A group counts what its two best experts do; experts of the other groups fall to the lowest rank.
    private static void KeepBestGroups(in Routing routing, Span<float> ranks)
    {
        int size = ranks.Length / routing.Groups;
        Span<float> scores = routing.Groups <= 256 ? stackalloc float[routing.Groups] : new float[routing.Groups];
        for (int g = 0; g < routing.Groups; g++)
        {
            float first = float.NegativeInfinity, second = float.NegativeInfinity;
            foreach (float rank in ranks.Slice(g * size, size))
            {
                if (rank > first) (first, second) = (rank, first);
                else if (rank > second) second = rank;
            }

            // An infinite rank outdoes all others, so that none beside it counts. A score is then never NaN, which marks the groups that were dropped.
            scores[g] = size == 1 || float.IsPositiveInfinity(first) ? first : first + second;
        }

        for (int dropped = routing.Groups - routing.GroupsUsed; dropped > 0; dropped--)
        {
            int worst = -1;
            for (int g = 0; g < scores.Length; g++)
                if (!float.IsNaN(scores[g]) && (worst < 0 || scores[g] <= scores[worst])) worst = g;
            scores[worst] = float.NaN;
            ranks.Slice(worst * size, size).Fill(float.NegativeInfinity);
        }
    }

    private static void Softmax(Span<float> values)
    {
        float highest = float.NegativeInfinity, sum = 0;
        foreach (float value in values)
            highest = MathF.Max(highest, value);
        foreach (ref float value in values)
            sum += value = MathF.Exp(value - highest);
        foreach (ref float value in values)
            value /= sum;
    }
}
