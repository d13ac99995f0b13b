using Nibble.Llm.Sampling;

namespace Nibble.Llm.Tests.Sampling;

/// <summary>Candidates and probabilities against libllama's; see tests/golden/samplers/README.md.</summary>
public class SamplerGoldenTests
{
    private const float Tolerance = 1e-6f;

    public static TheoryData<string> Cases => [.. SamplerCase.All.Select(sampler => sampler.Name)];

    [Theory]
    [MemberData(nameof(Cases))]
    public void Candidates_and_probabilities_equal_libllamas_on_200_vectors(string name)
    {
        SamplerCase sampler = SamplerCase.All.Single(candidate => candidate.Name == name);
        using BinaryReader golden = new(File.OpenRead(Fixtures.Golden("samplers", name + ".bin")));
        SamplingOptions options = new() { Seed = 1 };
        for (int i = 0; i < sampler.Flags.Length; i += 2)
            Samplers.Parameters.Single(parameter => parameter.Flag == sampler.Flags[i]).Parse(options, sampler.Flags[i + 1]);

        for (int index = 0; index < LogitVectors.Count; index++)
        {
            float[] logits = LogitVectors.Make(index, sampler.Vectors);
            // Mirostat's bound moves by the token that libllama drew, so the last step is made here and the chain before it is the options'.
            MirostatSelector? mirostat = options.Mirostat switch
            {
                1 => new MirostatSampler(options.MirostatEntropy, options.MirostatLearningRate),
                2 => new MirostatV2Sampler(options.MirostatEntropy, options.MirostatLearningRate),
                _ => null,
            };
            SamplerChain chain = mirostat is null
                ? new SamplerChain(options, logits.Length, ToyVocabulary.OfCharacters(logits.Length))
                : new SamplerChain([new TemperatureSampler(options.Temperature, 0, 1)], mirostat, logits.Length, 1);
            foreach (int token in LogitVectors.History(index)) chain.Accept(token);
            for (int step = 0; step < sampler.Steps; step++)
            {
                chain.Apply(logits);
                int drawn = Compare(golden, chain.Candidates, logits, $"{name}, vector {index}, step {step}");
                mirostat?.Observe(Find(chain.Candidates, drawn).Probability);
            }
        }
        Assert.Equal(golden.BaseStream.Length, golden.BaseStream.Position);
    }

    [Fact]
    public void Every_sampler_has_a_golden_of_its_own()
    {
        foreach (SamplerDescription row in Samplers.DefaultSequence)
            Assert.Contains(SamplerCase.All, sampler => sampler.Flags is ["--samplers", string only, ..] && only == row.Name);
        Assert.Equal(SamplerCase.All.Length, Directory.GetFiles(Fixtures.Golden("samplers"), "*.bin").Length);
    }

    private static int Compare(BinaryReader golden, ReadOnlySpan<Candidate> candidates, float[] logits, string where)
    {
        int count = golden.ReadUInt16();
        float lowest = golden.ReadSingle();
        int drawn = golden.ReadUInt16();
        int stored = golden.ReadUInt16();
        (int Id, float P)[] expected = [.. Enumerable.Range(0, stored).Select(_ => ((int)golden.ReadUInt16(), golden.ReadSingle()))];
        Candidate[] actual = [.. candidates.ToArray().Where(candidate => candidate.Probability > 0).OrderByDescending(candidate => candidate.Probability).ThenBy(candidate => candidate.Id)];

        Assert.True(count == actual.Length, $"{where}: {actual.Length} candidates, libllama has {count}.");
        Assert.True(MathF.Abs(lowest - actual[^1].Probability) <= Tolerance, $"{where}: lowest probability {actual[^1].Probability}, libllama's {lowest}.");
        for (int i = 0; i < stored; i++)
        {
            Assert.True(MathF.Abs(expected[i].P - actual[i].Probability) <= Tolerance, $"{where}, rank {i}: probability {actual[i].Probability}, libllama's {expected[i].P}.");
            // Among equal logits libllama's sort takes any, ours the lower id.
            Assert.True(expected[i].Id == actual[i].Id || logits[expected[i].Id] == logits[actual[i].Id], $"{where}, rank {i}: token {actual[i].Id}, libllama's {expected[i].Id}.");
        }
        return drawn;
    }

    // The token, or where a tie at the cut left another of equal logit, one of that probability.
    private static Candidate Find(ReadOnlySpan<Candidate> candidates, int id)
    {
        foreach (Candidate candidate in candidates)
            if (candidate.Id == id) return candidate;
        return candidates.ToArray().MinBy(candidate => candidate.Probability);
    }
}
