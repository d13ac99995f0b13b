using Nibble.Core.Compute;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;

namespace Nibble.Llm.Tests.Models;

/// <summary>The tiny models against llama.cpp v0.5.0 (float32 KV cache, one thread, flash attention off).</summary>
public class GoldenLogitsTests
{
    private const double Bound = 1e-8;

    public static TheoryData<string, string> Cases => new(
        from model in (string[])["llama-dense", "llama-moe"]
        from backend in (string[])["reference", "cpu-exact"]
        select (model, backend));

    [Theory]
    [MemberData(nameof(Cases))]
    public void Logits_equal_llama_cpp_at_every_position(string name, string device)
    {
        using Backend backend = TestModels.Open(device);
        using LanguageModel model = TestModels.Load(TestModels.Tiny(name), backend);
        using Session session = TestModels.ExactSession(model);
        float[] theirs = Nmse.ReadFloats(Fixtures.Golden("architectures", name + ".logits.f32"));
        float[] ours = TestModels.Logits(session, TestModels.Tokens);
        for (int position = 0; position < TestModels.Tokens.Length; position++)
        {
            Range row = (position * model.VocabularySize)..((position + 1) * model.VocabularySize);
            Assert.True(Nmse.Of(ours[row], theirs[row]) < Bound, $"position {position}: NMSE {Nmse.Of(ours[row], theirs[row]):E3}");
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Greedy_ids_equal_llama_cpp(string name, string device)
    {
        using Backend backend = TestModels.Open(device);
        using LanguageModel model = TestModels.Load(TestModels.Tiny(name), backend);
        using Session session = TestModels.ExactSession(model);
        string line = File.ReadLines(Fixtures.Golden("architectures", "greedy.txt")).Single(text => text.StartsWith(name + " ", StringComparison.Ordinal));
        int[] expected = TestModels.ParseIds(line[name.Length..]);
        Assert.Equal(expected, TestModels.Greedy(session, TestModels.Tokens.AsSpan(0, 16), expected.Length));
    }

    public static TheoryData<string, string> SharedCases => new(
        from model in (string[])
        [
            "gemma2-dense", "gemma3-dense", "gpt-oss-moe", "granite-dense", "llama-dense", "llama-moe", "mistral3-dense", "phi3-dense", "qwen2-dense", "qwen3-dense",
            "qwen3moe-moe", "smollm3-dense",
        ]
        from backend in (string[])["reference", "cpu-exact"]
        select (model, backend));

    [Theory]
    [MemberData(nameof(SharedCases))]
    public void Shared_models_give_the_logits_and_greedy_ids_of_llama_cpp(string name, string device)
    {
        using Backend backend = TestModels.Open(device);
        using LanguageModel model = TestModels.Load(Fixtures.Shared("fixtures", "architectures", name + ".gguf"), backend);
        using Session session = TestModels.ExactSession(model);
        float[] theirs = Nmse.ReadFloats(Fixtures.Shared("fixtures", "architectures", name + ".logits.f32"));
        float[] ours = TestModels.Logits(session, TestModels.Tokens);
        for (int position = 0; position < TestModels.Tokens.Length; position++)
        {
            Range row = (position * model.VocabularySize)..((position + 1) * model.VocabularySize);
            Assert.True(Nmse.Of(ours[row], theirs[row]) < Bound, $"position {position}: NMSE {Nmse.Of(ours[row], theirs[row]):E3}");
        }

        string line = File.ReadLines(Fixtures.Shared("fixtures", "architectures", "greedy.txt")).Single(text => text.StartsWith(name + " ", StringComparison.Ordinal));
        int[] expected = TestModels.ParseIds(line[name.Length..]);
        Assert.Equal(expected, TestModels.Greedy(session, TestModels.Tokens.AsSpan(0, 16), expected.Length));
    }

    public static TheoryData<string, string, string[]> Variants => new(
        ("llama-dense", "linear", ["llama.rope.scaling.factor=2"]),
        ("llama-dense", "none", ["llama.rope.scaling.type=none", "llama.rope.scaling.factor=4"]),
        ("llama-dense", "yarn", ["llama.rope.scaling.type=yarn", "llama.rope.scaling.factor=4", "llama.rope.scaling.original_context_length=64"]),
        ("llama-dense", "yarn-scaled",
        [
            "llama.rope.scaling.type=yarn", "llama.rope.scaling.factor=8", "llama.rope.scaling.original_context_length=32", "llama.rope.scaling.attn_factor=1.3",
        ]),
        ("llama-dense", "base", ["llama.rope.freq_base=500", "llama.attention.scale=0.2"]));

    [Theory]
    [MemberData(nameof(Variants))]
    public void Logits_of_a_model_with_changed_keys_equal_llama_cpp(string name, string variant, string[] changes)
    {
        string path = TestModels.WriteChanged(name, changes);
        try
        {
            using Backend backend = TestModels.Open("reference");
            using LanguageModel model = TestModels.Load(path, backend);
            using Session session = TestModels.ExactSession(model);
            float[] theirs = Nmse.ReadFloats(Fixtures.Golden("architectures", $"{name}.{variant}.logits.f32"));
            Assert.InRange(Nmse.Of(TestModels.Logits(session, TestModels.Tokens), theirs), 0, Bound);
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public void Swapping_two_earlier_tokens_moves_the_last_logits()
    {
        // If it did not, the bound above would hide a broken attention.
        using Backend backend = TestModels.Open("reference");
        using LanguageModel model = TestModels.Load(TestModels.Tiny("llama-dense"), backend);
        using Session session = TestModels.ExactSession(model);
        int[] tokens = TestModels.Tokens[..32];
        session.Evaluate(tokens, TestContext.Current.CancellationToken);
        float[] before = session.Logits.ToArray();
        (tokens[10], tokens[11]) = (tokens[11], tokens[10]);
        session.Rewind(0);
        session.Evaluate(tokens, TestContext.Current.CancellationToken);
        Assert.InRange(Nmse.Of(session.Logits, before), 1e-6, 1);
    }
}
