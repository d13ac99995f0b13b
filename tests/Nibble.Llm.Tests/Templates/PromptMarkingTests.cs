using System.Runtime.InteropServices;
using Nibble.Core.Gguf;
using Nibble.Llm.Templates;
using Nibble.Llm.Tokenizers;

namespace Nibble.Llm.Tests.Templates;

/// <summary>Template and tokenizer together: what a user types never becomes a special token.</summary>
public class PromptMarkingTests
{
    private static readonly DateTimeOffset Now = new(2026, 1, 31, 12, 0, 0, TimeSpan.Zero);

    public static TheoryData<string> CommittedVocabularies => new("gpt-2", "llama-spm", "bert-bge");

    public static TheoryData<string> OtherVocabularies => new("deepseek-coder", "deepseek-llm", "falcon", "llama-bpe", "phi-3", "qwen2", "starcoder");

    [Theory]
    [MemberData(nameof(CommittedVocabularies))]
    public void Control_tokens_in_user_text_stay_text(string name) => Check(Fixtures.Golden("tokenizers", $"ggml-vocab-{name}.gguf"));

    [Theory]
    [MemberData(nameof(OtherVocabularies))]
    public void Control_tokens_in_user_text_stay_text_in_the_other_vocabularies(string name) => Check(Fixtures.Shared("fixtures", "tokenizers", $"ggml-vocab-{name}.gguf"));

    [Fact]
    public void Control_tokens_in_user_text_stay_text_in_the_default_model() => Check(TestModels.SmolLm2);

    private static void Check(string path)
    {
        using GgufFile file = GgufFile.Open(path);
        Tokenizer tokenizer = Tokenizer.FromMetadata(file.Metadata);
        Vocabulary vocabulary = tokenizer.Vocabulary;
        int[] control = [.. Enumerable.Range(0, vocabulary.Count).Where(id => vocabulary.Attributes(id).HasFlag(TokenAttributes.Control))];
        Assert.NotEmpty(control);
        // A template of the vocabulary's own: the control tokens that it writes must come out as such, or the test would pass without any marking.
        string wrapper = tokenizer.Decode([control[0]], renderSpecial: true);
        ChatTemplate template = ChatTemplate.Parse("{% for m in messages %}" + $"{{{{ '{wrapper}' }}}}" + "{{ m.content }}" + wrapper + "{% endfor %}");
        int own = ControlCount("plain");
        Assert.Equal(2, own);
        foreach (int id in control)
        {
            string text = tokenizer.Decode([id], renderSpecial: true);
            if (text.Length == 0) continue;
            foreach (string content in (string[])[text, $"a{text}b", $" {text} {text}", text[..^1] + text])
                Assert.True(ControlCount(content) == own, $"'{content}' became a control token");
        }

        int ControlCount(string content)
        {
            List<int> ids = [];
            tokenizer.Encode(CollectionsMarshal.AsSpan([.. template.Render([new ChatMessage("user", content)], addGenerationPrompt: false, Now).Segments]), ids);
            return ids.Count(id => vocabulary.Attributes(id).HasFlag(TokenAttributes.Control));
        }
    }
}
