using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;

namespace Nibble.Llm.Tests.Models;

/// <summary>Logits and greedy ids against llama.cpp v0.5.0 (float32 KV cache, one thread, flash attention off).</summary>
public class GoldenLogitsTests
{
    private const double Bound = 1e-8;

    [Theory]
    [InlineData("llama-dense")]
    [InlineData("llama-moe")]
    public void Reference_logits_equal_llama_cpp_at_every_position(string name)
    {
        using ReferenceBackend backend = new();
        using LanguageModel model = LanguageModel.Load(GgufFile.Open(Fixtures.Shared("fixtures", "architectures", name + ".gguf")), backend);
        using Session session = model.NewSession(new SessionOptions { KvFormat = BlockFormats.F32 });
        int[] tokens = [.. File.ReadAllText(Fixtures.Shared("fixtures", "architectures", "tokens.txt")).Split([',', ' ', '\n'], StringSplitOptions.RemoveEmptyEntries).Select(int.Parse)];
        float[] theirs = Nmse.ReadFloats(Fixtures.Shared("fixtures", "architectures", name + ".logits.f32"));
        float[] ours = new float[theirs.Length];
        session.Evaluate(tokens, 0, (position, logits) => logits.CopyTo(ours.AsSpan(position * model.VocabularySize)), TestContext.Current.CancellationToken);
        Assert.InRange(Nmse.Of(ours, theirs), 0, Bound);
    }
}
