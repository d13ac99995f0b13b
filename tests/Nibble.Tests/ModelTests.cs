using Nibble.Core.Gguf;
using Nibble.Llm.Sampling;
using Nibble.Llm.Templates;
using Nibble.Llm.Tokenizers;

namespace Nibble.Tests;

public sealed class ModelTests : IDisposable
{
    private readonly string _path = Path.Combine(Path.GetTempPath(), $"nibble-model-{Guid.NewGuid():N}.gguf");

    public void Dispose() => File.Delete(_path);

    [Fact]
    public void Sampling_defaults_of_the_file_reach_the_chain_unless_an_option_says_otherwise()
    {
        Write(writer => writer.Set("general.sampling.temp", 0f));
        using Model model = Model.Load(_path);
        float[] logits = new float[model.Language.VocabularySize];
        logits[7] = 1;
        SamplerChain greedy = model.NewSampler();
        greedy.Apply(logits);
        Assert.Equal(1, greedy.Candidates.Length);
        Assert.Equal(7, greedy.Sample(logits));
        SamplerChain warm = model.NewSampler(new SamplingOptions { Temperature = 1, TopK = 0, TopP = 1, MinP = 0 });
        warm.Apply(logits);
        Assert.Equal(logits.Length, warm.Candidates.Length);
    }

    [Fact]
    public void A_model_without_a_known_tokenizer_or_template_says_so_and_runs_on_ids()
    {
        Write(_ => { });
        using Model model = Model.Load(_path);
        Assert.Contains(model.Warnings, warning => warning.Contains("'test'", StringComparison.Ordinal));
        Assert.Null(model.TokenizerOrNull);
        Assert.Throws<TokenizerException>(() => model.Tokenizer);
        Assert.True(model.ChatTemplate.IsFallback);
        Assert.NotEmpty(model.ChatTemplate.Warnings);
        Assert.Throws<TokenizerException>(() => new Chat(model));
    }

    [Fact]
    public void A_chat_template_of_the_caller_replaces_the_file_s_and_a_broken_one_is_refused()
    {
        using Model model = Model.Load(null, new LoadOptions { ChatTemplate = "{{ messages[0].content }}" });
        RenderedPrompt prompt = model.ChatTemplate.Render([new ChatMessage("user", "hé")], addGenerationPrompt: false, DateTimeOffset.UnixEpoch);
        Assert.Equal("hé", prompt.Text);
        Assert.Throws<TemplateException>(() => Model.Load(null, new LoadOptions { ChatTemplate = "{% if %}" }));
    }

    private void Write(Action<GgufWriter> change)
    {
        using GgufFile file = GgufFile.Open(Fixtures.Golden("architectures", "llama-dense.gguf"));
        GgufWriter writer = GgufWriter.From(file);
        change(writer);
        writer.Write(_path);
    }
}
