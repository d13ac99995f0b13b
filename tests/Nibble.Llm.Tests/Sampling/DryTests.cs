using Nibble.Llm.Sampling;

namespace Nibble.Llm.Tests.Sampling;

public class DryTests
{
    [Fact]
    public void A_token_that_extends_a_repetition_is_penalized_by_its_length()
    {
        // a b c x a b c: x would make the repetition 4 long, 3 of it in the text: 1 * 2^(3 - 1). No other token continues one.
        float[] penalties = Penalties([1, 2, 3, 9, 1, 2, 3], multiplier: 1, allowed: 1);
        Assert.Equal(4, penalties[9]);
        Assert.Equal(4, penalties.Sum());
    }

    [Fact]
    public void The_longest_repetition_counts_and_agrees_with_counting_by_hand()
    {
        for (int index = 0; index < 100; index++)
        {
            int[] history = LogitVectors.History(index);
            float[] expected = new float[40];
            for (int end = 0; end < history.Length - 1; end++)
            {
                int length = 0;
                while (length <= end && history[end - length] == history[^(length + 1)]) length++;
                if (length >= 2) expected[history[end + 1]] = MathF.Max(expected[history[end + 1]], MathF.Pow(2, length - 2));
            }
            if (history.Length <= 2) Array.Clear(expected);
            Assert.Equal(expected, Penalties(history, multiplier: 1, allowed: 2));
        }
    }

    [Fact]
    public void No_repetition_reaches_over_a_breaker_and_none_is_penalized_itself()
    {
        int[] history = [1, 2, 3, 9, 1, 2, 3];
        Assert.Equal(0, Penalties(history, 1, 1, [3]).Sum());
        Assert.Equal(1, Penalties(history, 1, 1, [2])[9]); // 3 alone repeats
        Assert.Equal(2, Penalties(history, 1, 1, [1])[9]); // 2 3 repeats
        Assert.Equal(0, Penalties(history, 1, 1, [9]).Sum()); // 9 is a breaker
        Assert.Equal(1, Penalties(history, 1, 1, [1, 2])[9]);
        Assert.Equal(4, Penalties(history, 1, 1, [1, 3])[9]); // does not stand in the text
    }

    [Fact]
    public void A_breaker_is_found_inside_and_across_tokens()
    {
        //                          0    1     2     3      4    5      6     7
        ToyVocabulary vocabulary = new("?", "ab", "xab", "aby", "xa", "b", "bz", "a");
        DryBreakers breakers = DryBreakers.FromTexts(["ab"], vocabulary);
        foreach (int id in new[] { 1, 2, 3 }) Assert.True(breakers.IsSingle(id));
        foreach (int id in new[] { 0, 4, 5, 6, 7 }) Assert.False(breakers.IsSingle(id));
        Assert.Equal(1, Since(breakers, [4, 5, 0])); // "xa" "b" spells it, then one token
        Assert.Equal(2, Since(breakers, [0, 7, 5, 0, 0]));
        Assert.Equal(3, Since(breakers, [4, 0, 5])); // not in a row: no breaker
    }

    [Fact]
    public void Dry_with_breakers_needs_a_vocabulary() =>
        Assert.Contains("vocabulary", Assert.Throws<ArgumentException>(() => new SamplerChain(new SamplingOptions { DryMultiplier = 1 }, 10)).Message, StringComparison.Ordinal);

    [Fact]
    public void A_long_repetition_keeps_a_finite_penalty()
    {
        int[] history = [.. Enumerable.Repeat(1, 1000)];
        float penalty = Penalties(history, 1, 1)[1];
        Assert.True(float.IsFinite(penalty) && penalty > 1e29f, $"{penalty}");
    }

    private static int Since(DryBreakers breakers, int[] text)
    {
        TokenRing ring = new(text.Length);
        foreach (int id in text) ring.Add(id);
        return breakers.TokensSinceBreaker(ring, text.Length);
    }

    // What DRY with base 2 takes from each of 40 tokens' logits.
    private static float[] Penalties(int[] history, float multiplier, int allowed, params int[][] breakers)
    {
        DrySampler sampler = new(40, multiplier, 2, allowed, 1000, DryBreakers.FromTokens(breakers));
        foreach (int id in history) sampler.Accept(id);
        CandidateSet set = new(40);
        set.Fill(new float[40]);
        sampler.Apply(set, new RandomSource(0));
        return [.. set.Active.ToArray().Select(candidate => 0 - candidate.Logit)];
    }
}
