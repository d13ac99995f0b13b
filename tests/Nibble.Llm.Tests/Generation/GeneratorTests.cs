using System.Text;
using System.Text.Json;
using Nibble.Core.Compute;
using Nibble.Llm.Generation;
using Nibble.Llm.Models;
using Nibble.Llm.Sampling;
using Nibble.Llm.Sessions;
using Nibble.Llm.Tokenizers;

namespace Nibble.Llm.Tests.Generation;

/// <summary>The generation loop on the default model, greedy and exact, so that every id is known.</summary>
public sealed class GeneratorTests : IDisposable
{
    private static readonly JsonElement France = JsonDocument.Parse(File.ReadAllText(Fixtures.Golden("smollm2", "golden.json"))).RootElement.GetProperty("greedy")[0];

    private readonly Backend _backend = TestModels.Open("cpu-exact");
    private readonly LanguageModel _model;
    private readonly Tokenizer _tokenizer;
    private readonly Session _session;
    private readonly int[] _expected = TestModels.Ints(France.GetProperty("ids"));

    public GeneratorTests()
    {
        _model = TestModels.Load(TestModels.SmolLm2, _backend);
        _tokenizer = Tokenizer.FromMetadata(_model.File.Metadata);
        _session = TestModels.ExactSession(_model, context: 64);
        _session.Prefill(TestModels.Ints(France.GetProperty("prompt_ids")), Cancellation);
    }

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        _session.Dispose();
        _model.Dispose();
        _backend.Dispose();
    }

    [Fact]
    public void It_ends_with_the_end_of_the_turn_which_has_an_id_and_no_text()
    {
        (List<int> ids, string text, Generator generator) = Run(new GenerationOptions(), _tokenizer);
        Assert.Equal(_expected, ids);
        Assert.Equal("The capital of France is Paris.", text);
        Assert.Equal(FinishReason.EndOfGeneration, generator.Finish);
        Assert.False(generator.Next(Cancellation));
        Assert.Equal(_expected.Length, generator.Count);
    }

    [Fact]
    public void It_ends_after_as_many_tokens_as_were_asked_for()
    {
        (List<int> ids, string text, Generator generator) = Run(new GenerationOptions { MaxTokens = 3 }, _tokenizer);
        Assert.Equal(_expected[..3], ids);
        Assert.Equal("The capital of", text);
        Assert.Equal(FinishReason.Length, generator.Finish);
        Assert.False(new Generator(_session, _tokenizer, Greedy(), new GenerationOptions { MaxTokens = 0 }).Next(Cancellation));
    }

    [Fact]
    public void It_ends_at_a_stop_string_that_spans_tokens()
    {
        (_, string text, Generator generator) = Run(new GenerationOptions { StopStrings = ["nce is P"] }, _tokenizer);
        Assert.Equal("The capital of Fra", text);
        Assert.Equal(FinishReason.StopString, generator.Finish);
    }

    [Fact]
    public void Without_a_tokenizer_it_gives_ids_that_nothing_ends()
    {
        (List<int> ids, string text, Generator generator) = Run(new GenerationOptions { MaxTokens = 10 }, null);
        Assert.Equal(_expected, ids[.._expected.Length]);
        Assert.Equal(10, ids.Count);
        Assert.Equal(string.Empty, text);
        Assert.Equal(FinishReason.Length, generator.Finish);
    }

    [Fact]
    public void A_cancelled_call_is_made_good_by_the_next()
    {
        Generator generator = new(_session, _tokenizer, Greedy(), new GenerationOptions());
        List<int> ids = [];
        using CancellationTokenSource cancelled = new();
        cancelled.Cancel();
        while (generator.Next(Cancellation))
        {
            ids.Add(generator.Id);
            if (generator.Finish == FinishReason.None) Assert.ThrowsAny<OperationCanceledException>(() => generator.Next(cancelled.Token));
        }

        Assert.Equal(_expected, ids);
    }

    [Fact]
    public void A_full_session_is_a_typed_error_and_wrong_arguments_are_refused()
    {
        Generator generator = new(_session, null, Greedy(), new GenerationOptions());
        Assert.Throws<ContextOverflowException>(() =>
        {
            while (generator.Next(Cancellation))
                Assert.InRange(generator.Count, 1, 64);
        });
        Assert.Equal(64, _session.Length);
        Assert.Throws<ArgumentException>(() => new Generator(_session, null, Greedy(), new GenerationOptions { StopStrings = ["x"] }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Generator(_session, null, Greedy(), new GenerationOptions { MaxTokens = -1 }));
        using Session empty = TestModels.ExactSession(_model);
        Assert.Throws<InvalidOperationException>(() => new Generator(empty, null, Greedy(), new GenerationOptions()));
    }

    private SamplerChain Greedy() => new(new SamplingOptions { Temperature = 0 }, _model.VocabularySize);

    private (List<int> Ids, string Text, Generator Generator) Run(GenerationOptions options, Tokenizer? tokenizer)
    {
        Generator generator = new(_session, tokenizer, Greedy(), options);
        List<int> ids = [];
        StringBuilder text = new();
        while (generator.Next(Cancellation))
        {
            ids.Add(generator.Id);
            text.Append(generator.Text);
        }

        generator.Flush();
        text.Append(generator.Text);
        return (ids, text.ToString(), generator);
    }
}
