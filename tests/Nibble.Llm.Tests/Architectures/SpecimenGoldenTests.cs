using Nibble.Core.Compute;
using Nibble.Llm.Models;
using Known = Nibble.Llm.Models.Architectures;

namespace Nibble.Llm.Tests.Architectures;

/// <summary>Every architecture's specimens against llama.cpp: tests/golden/architectures/README.md.</summary>
public class SpecimenGoldenTests
{
    private const double Bound = 1e-8;

    // GELU is looked up in a table of half-precision numbers, as in llama.cpp (HalfGelu). Sums in another order put an input now and then onto the other side of a step of the table, and six layers
    // make more of that.
    private const double GeluBound = 2e-7;

    private static readonly string[] WithGelu = ["bloom", "codeshell", "falcon", "gemma", "gemma2", "gemma3", "gemma4", "gpt2", "gptneox", "grok", "mpt", "phi2", "spark2_5", "starcoder", "starcoder2"];

    public static TheoryData<string> Names => [.. Specimens.All.Select(specimen => specimen.Name)];

    public static TheoryData<string, string> Cases => new(
        from specimen in Specimens.All
        from backend in (string[])["reference", "cpu-exact"]
        select (specimen.Name, backend));

    [Fact]
    public void Every_architecture_has_a_specimen() =>
        Assert.Equal(Known.Names.Order(StringComparer.Ordinal), Specimens.All.Select(specimen => specimen.Architecture).Distinct().Order(StringComparer.Ordinal));

    [Theory]
    [MemberData(nameof(Cases))]
    public void Logits_equal_llama_cpp(string name, string device)
    {
        float[] theirs = Nmse.ReadFloats(Fixtures.Golden("architectures", name + ".logits.f32"));
        Specimen described = Specimens.All.Single(specimen => specimen.Name == name);
        using SpecimenModel specimen = new(described);
        using Backend backend = TestModels.Open(device, threads: 1);
        using LanguageModel model = specimen.Load(backend);
        int vocabulary = model.VocabularySize;
        float[] all = SpecimenModel.Logits(model, Specimen.Prompt);
        float[] ours = [.. Specimen.Positions.SelectMany(position => all[(position * vocabulary)..((position + 1) * vocabulary)])];
        double worst = SpecimenModel.WorstNmse(ours, theirs, vocabulary), bound = WithGelu.Contains(described.Architecture) ? GeluBound : Bound;
        TestContext.Current.TestOutputHelper?.WriteLine($"worst NMSE {worst:E2}");
        Assert.True(worst < bound, $"NMSE {worst:E2}; the bound is {bound}.");
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Swapping_two_earlier_tokens_moves_the_last_logits(string name)
    {
        using SpecimenModel specimen = new(Specimens.All.Single(specimen => specimen.Name == name));
        using Backend backend = TestModels.Open("cpu-exact", threads: 1);
        using LanguageModel model = specimen.Load(backend);
        int[] ids = [.. Specimen.Prompt];
        Range last = ^model.VocabularySize..;
        float[] before = SpecimenModel.Logits(model, ids)[last];
        // Both in the windows of the last token.
        (ids[70], ids[77]) = (ids[77], ids[70]);
        Assert.InRange(Nmse.Of(SpecimenModel.Logits(model, ids)[last], before), SpecimenModel.Moved, double.MaxValue);
    }
}
