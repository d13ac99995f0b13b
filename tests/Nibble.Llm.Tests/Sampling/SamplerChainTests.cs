using Nibble.Llm.Sampling;

namespace Nibble.Llm.Tests.Sampling;

public class SamplerChainTests
{
    private static SamplingOptions AllOn => new()
    {
        Seed = 5, RepeatPenalty = 1.1f, FrequencyPenalty = 0.1f, DryMultiplier = 0.8f, DrySequenceBreakers = [], TopNSigma = 3, TypicalP = 0.98f,
        XtcProbability = 0.5f, XtcThreshold = 0.05f, DynamicTemperatureRange = 0.3f, LogitBias = [new LogitBias(3, 0.5f)],
    };

    [Fact]
    public void Steady_sampling_allocates_nothing()
    {
        foreach (SamplingOptions options in new[] { AllOn, new(), new() { Temperature = 0 }, new() { TopK = 0 }, new() { Mirostat = 1 }, new() { Mirostat = 2 }, new() { Sequence = [] } })
        {
            float[] logits = Normal(32_000, 1);
            SamplerChain chain = new(options, logits.Length);
            Sample();
            Assert.Equal(0, Allocations.Least(Sample));

            void Sample()
            {
                for (int i = 0; i < 64; i++) chain.Accept(chain.Sample(logits));
            }
        }
    }

    [Fact]
    public void Greedy_takes_the_highest_logit_and_the_first_of_equals()
    {
        for (int index = 0; index < LogitVectors.Count; index++)
        {
            float[] logits = LogitVectors.Make(index, Vectors.All);
            int argmax = Array.IndexOf(logits, logits.Max());
            foreach (float temperature in new[] { 0f, -1f })
                Assert.Equal(argmax, new SamplerChain(new SamplingOptions { Temperature = temperature }, logits.Length).Sample(logits));
        }
        Assert.Equal(2, new SamplerChain(new SamplingOptions { Temperature = 0 }, 5).Sample([0, 1, 3, 3, 3]));
        Assert.Equal(0, new SamplerChain(new SamplingOptions { Temperature = 0 }, 2).Sample([-0f, 0f]));
    }

    [Fact]
    public void Draws_follow_the_probabilities()
    {
        // Chi-square over 8 tokens, 7 degrees of freedom: above 24.3 with a chance of 0.001. Seed 11.
        float[] logits = [0, 1, 2, -1, 0.5f, 1.5f, -2, 3];
        foreach (SamplingOptions options in new[] { new SamplingOptions { Sequence = [], Seed = 11 }, new SamplingOptions { Mirostat = 2, MirostatEntropy = 30, MirostatLearningRate = 0, Temperature = 1, Seed = 11 } })
        {
            SamplerChain chain = new(options, logits.Length);
            int[] counts = new int[logits.Length];
            const int Draws = 100_000;
            for (int i = 0; i < Draws; i++) counts[chain.Sample(logits)]++;
            double sum = logits.Sum(logit => Math.Exp(logit)), chi = 0;
            for (int id = 0; id < logits.Length; id++)
            {
                double expected = Draws * Math.Exp(logits[id]) / sum;
                chi += (counts[id] - expected) * (counts[id] - expected) / expected;
            }
            Assert.InRange(chi, 0, 24.3);
        }
    }

    [Fact]
    public void Xtc_acts_with_its_chance()
    {
        SamplerChain chain = new(new SamplingOptions { Sequence = [XtcSampler.Description], XtcProbability = 0.3f, Seed = 3 }, 3);
        int acted = 0;
        for (int i = 0; i < 10_000; i++)
        {
            chain.Apply([1, 1.1f, 1.2f]);
            if (chain.Candidates.Length == 1) acted++;
        }
        Assert.InRange(acted, 2_850, 3_150); // 3.3 standard deviations
    }

    [Fact]
    public void Probabilities_sum_to_one_and_a_candidate_is_always_left()
    {
        foreach (SamplingOptions options in new[] { AllOn, new() { TopP = 0, TypicalP = 0, MinP = 1 }, new() { Mirostat = 1, MirostatEntropy = 0 }, new() { Mirostat = 2, MirostatEntropy = 0 }, new() { XtcProbability = 1, XtcThreshold = 0 } })
            for (int index = 0; index < LogitVectors.Count; index++)
            {
                float[] logits = LogitVectors.Make(index, Vectors.All);
                SamplerChain chain = new(options, logits.Length, ToyVocabulary.OfCharacters(logits.Length));
                foreach (int token in LogitVectors.History(index)) chain.Accept(token);
                chain.Apply(logits);
                double sum = 0;
                HashSet<int> ids = [];
                foreach (Candidate candidate in chain.Candidates)
                {
                    Assert.True(ids.Add(candidate.Id));
                    sum += candidate.Probability;
                }
                Assert.InRange(sum, 1 - 1e-5, 1 + 1e-5);
                Assert.NotEqual(float.NegativeInfinity, logits[chain.Sample(logits)]);
            }
    }

    [Fact]
    public void A_looser_setting_keeps_all_that_a_tighter_one_keeps()
    {
        (Action<SamplingOptions, float> Set, float[] Values)[] ladders =
        [
            ((o, v) => o.TopK = (int)v, [1, 5, 40, 300]),
            ((o, v) => o.TopP = v, [0, 0.3f, 0.9f, 0.999f]),
            ((o, v) => o.TypicalP = v, [0, 0.3f, 0.9f, 0.999f]),
            ((o, v) => o.MinP = v, [1, 0.5f, 0.1f, 0.01f]),
            ((o, v) => o.TopNSigma = v, [0.1f, 1, 2, 3]),
        ];
        for (int index = 0; index < LogitVectors.Count; index++)
            foreach ((Action<SamplingOptions, float> set, float[] values) in ladders)
            {
                HashSet<int> tighter = [];
                foreach (float value in values)
                {
                    SamplingOptions options = new() { TopK = 0, TopP = 1, MinP = 0 };
                    set(options, value);
                    float[] logits = LogitVectors.Make(index, Vectors.All);
                    SamplerChain chain = new(options, logits.Length);
                    chain.Apply(logits);
                    HashSet<int> kept = [.. chain.Candidates.ToArray().Where(candidate => candidate.Probability > 0).Select(candidate => candidate.Id)];
                    Assert.Superset(tighter, kept);
                    tighter = kept;
                }
            }
    }

    [Fact]
    public void Top_k_equals_a_full_stable_sort_for_every_k()
    {
        foreach (int index in new[] { 0, 4, 5, 12, 20, 36 })
        {
            float[] logits = LogitVectors.Make(index, Vectors.All);
            int[] sorted = [.. Enumerable.Range(0, logits.Length).OrderByDescending(id => logits[id]).ThenBy(id => id)];
            CandidateSet set = new(logits.Length);
            for (int k = 1; k <= logits.Length; k++)
            {
                set.Fill(logits);
                set.KeepTop(k);
                Assert.Equal(sorted[..k].Order(), set.Active.ToArray().Select(candidate => candidate.Id).Order());
                set.Sort();
                Assert.Equal(sorted[..k], set.Active.ToArray().Select(candidate => candidate.Id));
            }
        }
    }

    [Fact]
    public void The_order_of_the_sequence_decides()
    {
        float[] logits = [3, 2, 1, 0];
        int Count(string sequence)
        {
            SamplerChain chain = new(new SamplingOptions { Sequence = Samplers.ParseSequence(sequence), TopP = 0.9f, Temperature = 5 }, 4);
            chain.Apply(logits);
            return chain.Candidates.Length;
        }
        Assert.Equal(3, Count("top_p;temperature"));
        Assert.Equal(4, Count("temperature;top_p"));
        Assert.Equal(4, Count(""));
    }

    [Fact]
    public void A_seed_repeats_itself_and_another_differs()
    {
        Assert.Equal(Draw(new(AllOn, 500), 50), Draw(new(AllOn, 500), 50));
        SamplingOptions other = AllOn;
        other.Seed = 6;
        Assert.NotEqual(Draw(new(AllOn, 500), 50), Draw(new(other, 500), 50));
        SamplerChain random = new(new SamplingOptions { TopK = 0 }, 500);
        Assert.Equal(Draw(random, 50), Draw(new(new SamplingOptions { TopK = 0, Seed = random.Seed }, 500), 50));
    }

    [Fact]
    public void The_generator_is_xoshiro256_starstar_seeded_by_splitmix64()
    {
        // The authors' C code, splitmix64.c and xoshiro256starstar.c: SplitMix64's first output for seed 0, and four outputs from the state 1, 2, 3, 4.
        Assert.Equal(0xE220A8397B1DCDAFUL, new RandomSource(0).State.S0);
        RandomSource random = new(0) { State = (1, 2, 3, 4) };
        Assert.Equal([11520UL, 0UL, 1509978240UL, 1215971899390074240UL], new[] { random.Next(), random.Next(), random.Next(), random.Next() });
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public void A_clone_and_a_saved_chain_continue_alike_and_reset_starts_over(int mirostat)
    {
        SamplingOptions options = AllOn;
        options.Mirostat = mirostat;
        SamplerChain chain = new(options, 500);
        int[] first = Draw(chain, 30);
        SamplerChain clone = chain.Clone();
        byte[] state = Save(chain);
        int[] next = Draw(chain, 30);
        Assert.Equal(next, Draw(clone, 30));
        SamplerChain restored = new(options, 500);
        restored.ReadState(new BinaryReader(new MemoryStream(state)));
        Assert.Equal(next, Draw(restored, 30));
        chain.Reset();
        Assert.Equal(first, Draw(chain, 30));
    }

    [Fact]
    public void A_damaged_or_foreign_state_is_refused()
    {
        SamplerChain chain = new(AllOn, 500);
        Draw(chain, 30);
        byte[] state = Save(chain);
        for (int length = 0; length < state.Length; length++)
            Assert.Throws<InvalidDataException>(() => new SamplerChain(AllOn, 500).ReadState(new BinaryReader(new MemoryStream(state[..length]))));
        Assert.Contains("other settings", Assert.Throws<InvalidDataException>(() =>
        {
            SamplingOptions shorter = AllOn;
            shorter.RepeatLastN = 8;
            new SamplerChain(shorter, 500).ReadState(new BinaryReader(new MemoryStream(state)));
        }).Message, StringComparison.Ordinal);
        Assert.Contains("Use the settings", Assert.Throws<InvalidDataException>(() => new SamplerChain(AllOn, 501).ReadState(new BinaryReader(new MemoryStream(state)))).Message, StringComparison.Ordinal);
        state[0] ^= 1;
        Assert.Throws<InvalidDataException>(() => chain.ReadState(new BinaryReader(new MemoryStream(state))));
    }

    [Fact]
    public void Logits_without_meaning_are_refused()
    {
        SamplerChain chain = new(new SamplingOptions(), 3);
        Assert.Contains("token 1", Assert.Throws<ArgumentException>(() => chain.Sample([0, float.NaN, 1])).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => chain.Sample([0, float.PositiveInfinity, 1]));
        Assert.Throws<ArgumentException>(() => chain.Sample([0, 1]));
        float none = float.NegativeInfinity;
        foreach (SamplingOptions options in new[] { new SamplingOptions(), new() { Temperature = 0 }, new() { Mirostat = 1 }, new() { Sequence = [] } })
            Assert.Throws<InvalidOperationException>(() => new SamplerChain(options, 3).Sample([none, none, none]));
        Assert.Throws<ArgumentOutOfRangeException>(() => chain.Accept(3));
        Assert.Throws<ArgumentOutOfRangeException>(() => chain.Accept(-1));
    }

    private static int[] Draw(SamplerChain chain, int count)
    {
        int[] ids = new int[count];
        for (int i = 0; i < count; i++)
        {
            ids[i] = chain.Sample(Normal(chain.VocabularySize, i % 3));
            chain.Accept(ids[i]);
        }
        return ids;
    }

    private static byte[] Save(SamplerChain chain)
    {
        MemoryStream stream = new();
        chain.WriteState(new BinaryWriter(stream));
        return stream.ToArray();
    }

    private static float[] Normal(int size, int seed)
    {
        RandomSource random = new((ulong)seed);
        return [.. Enumerable.Range(0, size).Select(_ => (float)((random.NextDouble() + random.NextDouble() + random.NextDouble() - 1.5) * 6))];
    }

    [Theory]
    [InlineData("", true)]
    [InlineData("top-k 1", true)]
    [InlineData("warm", false)]
    [InlineData("dynamic", false)]
    [InlineData("penalty", false)]
    [InlineData("typical", false)]
    [InlineData("xtc", false)]
    [InlineData("bias", false)]
    [InlineData("mirostat", false)]
    public void A_chain_knows_whether_it_always_draws_the_highest_logit(string change, bool isGreedy)
    {
        SamplingOptions options = new() { Temperature = 0, TopP = 0.9f, MinP = 0.1f, TopNSigma = 2, Seed = 3 };
        switch (change)
        {
            case "top-k 1":
                (options.TopK, options.Temperature) = (1, 1);
                break;
            case "warm":
                options.Temperature = 0.5f;
                break;
            case "dynamic":
                options.DynamicTemperatureRange = 1;
                break;
            case "penalty":
                options.RepeatPenalty = 1.5f;
                break;
            case "typical":
                options.TypicalP = 0.5f;
                break;
            case "xtc":
                options.XtcProbability = 1;
                break;
            case "bias":
                options.LogitBias = [new LogitBias(2, 1)];
                break;
            case "mirostat":
                options.Mirostat = 2;
                break;
            default:
                break;
        }

        SamplerChain all = new(options, 50), one = all.Clone();
        Assert.Equal(isGreedy, all.IsGreedy);
        Assert.Equal(isGreedy, one.IsGreedy);
        if (!isGreedy)
        {
            Assert.Throws<InvalidOperationException>(() => one.Take(1, 0));
            return;
        }

        Random random = new(1);
        for (int i = 0; i < 20; i++)
        {
            float[] logits = [.. Enumerable.Range(0, 50).Select(_ => (float)random.Next(8))];
            int best = Array.IndexOf(logits, logits.Max());
            Assert.Equal(best, all.Sample(logits));
            Assert.Equal(best, one.Take(best, logits[best]));
            Assert.Equal(all.Candidates.ToArray(), one.Candidates.ToArray());
            Assert.Equal(State(all), State(one));
        }

        Assert.Throws<ArgumentOutOfRangeException>(() => one.Take(50, 0));
        Assert.Throws<ArgumentException>(() => one.Take(1, float.NaN));

        static byte[] State(SamplerChain chain)
        {
            using MemoryStream stream = new();
            using BinaryWriter writer = new(stream);
            chain.WriteState(writer);
            writer.Flush();
            return stream.ToArray();
        }
    }
}
