using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;

namespace Nibble.Llm.Tests.Architectures;

/// <summary>A model of which two backends have a part each computes what one backend does.</summary>
public class SplitTests
{
    private const int Half = 43;

    public static TheoryData<string> Names => [.. Specimens.All.Select(specimen => specimen.Name)];

    [Theory]
    [MemberData(nameof(Names))]
    public void Two_backends_give_the_logits_of_one(string name)
    {
        using SpecimenModel specimen = new(Specimens.All.Single(specimen => specimen.Name == name));
        int[] prompt = Specimen.Prompt[..48];
        float[] whole;
        int layers;
        using (ReferenceBackend backend = new())
        {
            using LanguageModel model = specimen.Load(backend);
            layers = model.Decoder.Layers.Length;
            whole = SpecimenModel.Logits(model, prompt);
        }

        foreach (int count in (ReadOnlySpan<int>)[1, layers + 1])
        {
            using SplitBackend backend = Split(specimen, count, out ModelPlacement placement);
            Assert.Equal((Math.Min(count, layers), count > layers), (placement.DeviceLayers, placement.Split.TakesOutput));
            using LanguageModel model = specimen.Load(backend, batch: 30);
            Assert.Equal(whole, SpecimenModel.Logits(model, prompt));
            Assert.InRange(backend.MovedCount, 1, long.MaxValue);
        }
    }

    [Theory]
    [InlineData("llama")]
    [InlineData("qwen3next")]
    [InlineData("gemma4")]
    [InlineData("lfm2")]
    public void Forks_rewinding_and_saved_states_go_through_both_memories(string name)
    {
        using SpecimenModel specimen = new(Specimens.All.First(specimen => specimen.Architecture == name));
        using TempFolder folder = new();
        int[] prompt = Specimen.Prompt;
        using SplitBackend backend = Split(specimen, 1, out _);
        using LanguageModel model = specimen.Load(backend);
        int vocabulary = model.VocabularySize;
        float[] whole = SpecimenModel.Logits(model, prompt), rest = whole[(Half * vocabulary)..];
        using Session first = SpecimenModel.NewSession(model);
        SpecimenModel.Continue(first, prompt);
        first.Rewind(Half);
        Assert.Equal(rest, SpecimenModel.Continue(first, prompt.AsSpan(Half)));
        using Session second = SpecimenModel.NewSession(model);
        second.Prefill(prompt.AsSpan(0, Half), TestContext.Current.CancellationToken);
        second.Save(folder.File("state"));
        using Session fork = second.Fork();
        Assert.Equal(rest, SpecimenModel.Continue(fork, prompt.AsSpan(Half)));
        using Session restored = SpecimenModel.NewSession(model);
        restored.Restore(folder.File("state"));
        Assert.Equal(rest, SpecimenModel.Continue(restored, prompt.AsSpan(Half)));

        // The file is the same as one backend's.
        using ReferenceBackend one = new();
        using LanguageModel other = specimen.Load(one);
        using Session moved = SpecimenModel.NewSession(other);
        moved.Restore(folder.File("state"));
        Assert.Equal(rest, SpecimenModel.Continue(moved, prompt.AsSpan(Half)));
    }

    [Fact]
    public void A_token_crosses_the_border_once_and_its_logits_stay_where_they_are_read()
    {
        using SplitBackend backend = Split(TestModels.Tiny("llama-dense"), 1, 64, out _);
        using LanguageModel model = TestModels.Load(TestModels.Tiny("llama-dense"), backend);
        using Session session = TestModels.ExactSession(model, 64);
        session.Evaluate([1, 2, 3], TestContext.Current.CancellationToken);
        int width = model.Decoder.Shape.Width;
        foreach (int batch in (ReadOnlySpan<int>)[1, 1, 4])
        {
            long before = backend.MovedCount;
            session.Evaluate(TestModels.Tokens.AsSpan(0, batch), TestContext.Current.CancellationToken);

            // The batch's states come to the last layer, and the last token's to the output.
            Assert.Equal((batch + 1L) * width, backend.MovedCount - before);
        }
    }

    [Fact]
    public void Steady_decoding_allocates_no_more_managed_memory_than_one_backend()
    {
        using SplitBackend backend = Split(TestModels.Tiny("llama-dense"), 1, 128, out _);
        using LanguageModel model = TestModels.Load(TestModels.Tiny("llama-dense"), backend);
        using Session session = TestModels.ExactSession(model, 128);
        int[] id = [5];
        for (int i = 0; i < 20; i++) session.Evaluate(id, TestContext.Current.CancellationToken);
        long own = Measured(session, id);
        using ReferenceBackend one = new();
        using LanguageModel other = TestModels.Load(TestModels.Tiny("llama-dense"), one);
        using Session plain = TestModels.ExactSession(other, 128);
        for (int i = 0; i < 20; i++) plain.Evaluate(id, TestContext.Current.CancellationToken);
        Assert.InRange(own, 0, Measured(plain, id));

        static long Measured(Session session, int[] id) => Allocations.Least(() =>
        {
            for (int i = 0; i < 5; i++) session.Evaluate(id, TestContext.Current.CancellationToken);
        });
    }

    [Fact]
    public void Bytes_decide_how_many_layers_a_device_takes()
    {
        string path = TestModels.Tiny("llama-dense");
        PlacementOptions options = new() { Context = 64, KvFormat = BlockFormats.F32, BatchTokens = 8 };
        using GgufFile file = GgufFile.Open(path);
        using Backend device = TestModels.Open("cpu", threads: 1);
        ModelPlacement all = Plan(long.MaxValue);
        Assert.True(all.IsWhole);
        long need = all.WeightBytes + all.KvBytes + all.ScratchBytes;
        Assert.InRange(all.WeightBytes, 1, long.MaxValue);
        Assert.True(Plan((need * 16 / 15) + 16).IsWhole);
        ModelPlacement less = Plan(need * 16 / 15 - 64);
        Assert.Equal((all.Layers, false), (less.DeviceLayers, less.Split.TakesOutput));
        Assert.Equal(all.KvBytes, less.KvBytes);
        Assert.True(Plan(all.ScratchBytes).IsNone);
        int last = all.Layers + 1;
        for (long bytes = need * 2; bytes > 0; bytes -= need / 50)
        {
            ModelPlacement placement = Plan(bytes);
            int count = placement.DeviceLayers + (placement.Split.TakesOutput ? 1 : 0);
            Assert.InRange(count, 0, last);
            if (!placement.IsNone) Assert.InRange(placement.WeightBytes + placement.KvBytes + placement.ScratchBytes, 1, bytes);
            last = count;
        }

        Assert.Equal(0, last);
        string message = Assert.Throws<InsufficientMemoryException>(() => ModelPlacement.Plan(file, device, options with { DeviceLayers = 2, AvailableBytes = all.ScratchBytes })).Message;
        Assert.Contains("2 layers (--gpu-layers", message, StringComparison.Ordinal);
        Assert.Contains("0 do", message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => ModelPlacement.Plan(file, device, options with { DeviceLayers = -1 }));
        string[] lines = [.. less.Describe("cpu")];
        Assert.Contains($"layers 0 to {all.Layers - 1} of {all.Layers}; ", lines[0], StringComparison.Ordinal);
        Assert.Contains("cpu: no layer and the output, and rows of embeddings", lines[1], StringComparison.Ordinal);
        Assert.Contains(lines.Skip(2), line => line.Contains("tensor", StringComparison.Ordinal));

        ModelPlacement Plan(long bytes) => ModelPlacement.Plan(file, device, options with { AvailableBytes = bytes });
    }

    private static SplitBackend Split(SpecimenModel specimen, int layers, out ModelPlacement placement) => Split(specimen.FilePath, layers, Specimen.Context, out placement);

    private static SplitBackend Split(string path, int layers, int context, out ModelPlacement placement)
    {
        ReferenceBackend device = new();
        using GgufFile file = GgufFile.Open(path);
        placement = ModelPlacement.Plan(file, device, new PlacementOptions { DeviceLayers = layers, Context = context, KvFormat = BlockFormats.F32 });
        return new SplitBackend(device, new ReferenceBackend(), placement.Split);
    }
}
