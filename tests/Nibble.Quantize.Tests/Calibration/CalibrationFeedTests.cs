using Nibble.Core.Gguf;
using Nibble.Cpu;
using Nibble.Llm.Models;
using Nibble.Quantize.Calibration;

namespace Nibble.Quantize.Tests.Calibration;

/// <summary>Statistics that are asked for against those that are handed out.</summary>
public class CalibrationFeedTests
{
    private static readonly CalibrationOptions s_options = new() { Kinds = StatisticKinds.Hessian, IncludesOutput = true };

    [Theory]
    [InlineData(long.MaxValue, 0)]
    [InlineData(1L, 0)]
    [InlineData(1L, 1)]
    [InlineData(long.MaxValue, 1)]
    public void Layers_are_the_same_bit_for_bit_from_whichever_the_first_question_is(long memoryBytes, int first)
    {
        using LanguageModel model = Load();
        List<float[]> expected = [];
        Calibrator.Run(model, Chunks(model), s_options with { MemoryBytes = memoryBytes }, layer => expected.Add(layer.Inputs[^1].HessianRow(0, 3).ToArray()), null, TestContext.Current.CancellationToken);
        using CalibrationFeed feed = new(model, Chunks(model), s_options with { MemoryBytes = memoryBytes }, null);
        Assert.Null(feed.Layer(-1, TestContext.Current.CancellationToken));
        for (int layer = first; layer < expected.Count; layer++)
        {
            Assert.Equal(expected[layer], feed.Layer(layer, TestContext.Current.CancellationToken)!.Inputs[^1].HessianRow(0, 3).ToArray());
            Assert.Same(feed.Layer(layer, TestContext.Current.CancellationToken), feed.Layer(layer, TestContext.Current.CancellationToken));
        }

        Assert.Null(feed.Layer(expected.Count, TestContext.Current.CancellationToken));
    }

    [Fact]
    public void One_that_is_given_up_in_the_middle_stops()
    {
        using LanguageModel model = Load();
        CalibrationFeed feed = new(model, Chunks(model), s_options, null);
        Assert.NotNull(feed.Layer(0, TestContext.Current.CancellationToken));
        feed.Dispose();
    }

    [Fact]
    public void An_error_of_the_calibration_reaches_who_asks()
    {
        using LanguageModel model = Load();
        using CalibrationFeed feed = new(model, [], s_options, null);
        Assert.Throws<ArgumentException>(() => feed.Layer(0, TestContext.Current.CancellationToken));
    }

    [Fact]
    public void Another_text_is_another_identity()
    {
        using LanguageModel model = Load();
        using CalibrationFeed one = new(model, Chunks(model), s_options, null), same = new(model, Chunks(model), s_options, null), other = new(model, [[1, 2, 3, 4]], s_options, null);
        Assert.Equal(one.Identity, same.Identity);
        Assert.NotEqual(one.Identity, other.Identity);
    }

    private static LanguageModel Load() =>
        LanguageModel.Load(GgufFile.Open(Fixtures.Golden("architectures", "llama-dense.gguf")), new RecordingBackend(new CpuBackend(new CpuOptions { Exact = true })));

    private static List<int[]> Chunks(LanguageModel model)
    {
        Random random = new(3);
        return [.. Enumerable.Range(0, 3).Select(_ => Enumerable.Range(0, 16).Select(_ => random.Next(model.VocabularySize)).ToArray())];
    }
}
