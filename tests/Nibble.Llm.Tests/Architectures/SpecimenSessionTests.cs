using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;

namespace Nibble.Llm.Tests.Architectures;

/// <summary>However a session comes to a position, every architecture gives the logits that one batch gives.</summary>
public class SpecimenSessionTests
{
    private const double Bound = 1e-10;
    private const int Half = 43;

    public static TheoryData<string> Names => [.. Specimens.All.Select(specimen => specimen.Name)];

    [Fact]
    public void A_context_that_embeddings_of_positions_do_not_reach_is_refused_and_not_made_smaller()
    {
        using SpecimenModel specimen = new(Specimens.All.Single(specimen => specimen.Name == "gpt2"));
        using Backend backend = TestModels.Open("cpu-exact", threads: 1);
        using LanguageModel model = specimen.Load(backend);
        ArgumentOutOfRangeException error = Assert.Throws<ArgumentOutOfRangeException>(() => model.NewSession(new SessionOptions { Context = Specimen.Context + 1, KvFormat = BlockFormats.F32 }));
        Assert.Contains($"{Specimen.Context + 1} positions was asked for; the model has embeddings of {Specimen.Context}", error.Message, StringComparison.Ordinal);
        using Session whole = model.NewSession(new SessionOptions { KvFormat = BlockFormats.F32 });
        Assert.Equal(Specimen.Context, whole.Capacity);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Chunks_single_tokens_forks_rewinding_and_saved_states_give_the_same_logits(string name)
    {
        using SpecimenModel specimen = new(Specimens.All.Single(specimen => specimen.Name == name));
        using Backend backend = TestModels.Open("cpu-exact", threads: 1);
        using TempFolder folder = new();
        int[] prompt = Specimen.Prompt;
        float[] whole;
        using (LanguageModel model = specimen.Load(backend))
        {
            whole = SpecimenModel.Logits(model, prompt);
        }

        using LanguageModel chunked = specimen.Load(backend, batch: 7);
        int vocabulary = chunked.VocabularySize;
        void Same(string how, ReadOnlySpan<float> logits, int from)
        {
            double worst = SpecimenModel.WorstNmse(logits, whole.AsSpan(from * vocabulary), vocabulary);
            TestContext.Current.TestOutputHelper?.WriteLine($"{how}: worst NMSE {worst:E2}");
            Assert.True(worst < Bound, $"{how}: NMSE {worst:E2}; the bound is {Bound}.");
        }

        using Session first = SpecimenModel.NewSession(chunked);
        Same("chunks of 7", SpecimenModel.Continue(first, prompt), 0);
        first.Rewind(Half);
        Same("rewound", SpecimenModel.Continue(first, prompt.AsSpan(Half)), Half);

        using Session second = SpecimenModel.NewSession(chunked);
        float[] single = [.. prompt.SelectMany(id => SpecimenModel.Continue(second, [id]))];
        Same("single tokens", single, 0);

        using Session third = SpecimenModel.NewSession(chunked);
        third.Prefill(prompt.AsSpan(0, Half));
        third.Save(folder.File("state"));
        using Session fork = third.Fork();
        Same("forked", SpecimenModel.Continue(fork, prompt.AsSpan(Half)), Half);
        using Session restored = SpecimenModel.NewSession(chunked);
        restored.Restore(folder.File("state"));
        Same("restored", SpecimenModel.Continue(restored, prompt.AsSpan(Half)), Half);
    }
}
