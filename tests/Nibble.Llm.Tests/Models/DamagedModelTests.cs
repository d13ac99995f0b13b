using System.Text;
using Nibble.Core.Compute;
using Nibble.Core.Gguf;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;

namespace Nibble.Llm.Tests.Models;

/// <summary>A file that is well-formed GGUF but no model that runs gives a GgufException that names the thing; whatever loads, runs.</summary>
public class DamagedModelTests
{
    private const int Seed = 20261125;

    public static TheoryData<string, string, string> Faults => new(
        ("general.architecture", "unknown", "architecture 'unknown' is not supported"),
        ("llama.block_count", "0", "llama.block_count is 0"),
        ("llama.block_count", "1025", "llama.block_count is 1025"),
        ("llama.block_count", "3", "'blk.2.attn_norm.weight' is missing"),
        ("llama.attention.head_count", "0", "llama.attention.head_count is 0"),
        ("llama.attention.head_count", "3", "must be a multiple"),
        ("llama.attention.head_count_kv", "0", "llama.attention.head_count_kv is 0"),
        ("llama.embedding_length", "512", "token_embd.weight"),
        ("llama.feed_forward_length", "100", "ffn_gate.weight"),
        ("llama.rope.dimension_count", "129", "llama.rope.dimension_count is 129"),
        ("llama.rope.dimension_count", "63", "even number"),
        ("llama.rope.freq_base", "NaN", "must be finite"),
        ("llama.rope.freq_base", "-1", "must be positive"),
        ("llama.rope.scaling.type", "stretch", "rope scaling 'stretch' is not known"),
        ("llama.rope.scaling.factor", "-2", "must be positive"),
        ("llama.attention.layer_norm_rms_epsilon", "Infinity", "must be finite"),
        ("llama.context_length", "0", "llama.context_length is 0"),
        ("llama.attention.layer_norm_rms_epsilon", "-1", "must be 0 or more"),
        ("llama.vocab_size", "127", "token_embd.weight has 128 rows"),
        ("llama.expert_count", "2", "llama.expert_used_count is 0"));

    [Theory]
    [MemberData(nameof(Faults))]
    public void A_key_that_cannot_be_is_refused_with_its_name_and_value(string key, string value, string reason)
    {
        string path = TestModels.WriteChanged("llama-dense", [$"{key}={value}"]);
        try
        {
            GgufException error = Assert.Throws<GgufException>(() => Load(path));
            Assert.Contains(reason, error.Message, StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public void Three_hundred_files_with_damaged_headers_load_and_run_or_are_refused()
    {
        byte[] good = File.ReadAllBytes(TestModels.Tiny("llama-dense"));
        int headerBytes = good.AsSpan().IndexOf(Encoding.ASCII.GetBytes("blk.1.ffn_down.input_scale")) + 64;
        Random random = new(Seed);
        string path = Path.Combine(Path.GetTempPath(), $"nibble-damaged-{Guid.NewGuid():N}.gguf");
        int refused = 0, ran = 0;
        try
        {
            for (int i = 0; i < 300; i++)
            {
                byte[] bad = [.. good];
                for (int flips = random.Next(1, 4); flips > 0; flips--)
                    bad[random.Next(headerBytes)] = (byte)random.Next(256);
                File.WriteAllBytes(path, bad);
                try
                {
                    Load(path);
                    ran++;
                }
                catch (GgufException)
                {
                    refused++;
                }
                catch (Exception error)
                {
                    Assert.Fail($"seed {Seed}, file {i}: {error}");
                }
            }
        }
        finally
        {
            File.Delete(path);
        }

        Assert.InRange(refused, 30, 300);
        Assert.InRange(ran, 1, 270);
    }

    private static void Load(string path)
    {
        using ReferenceBackend backend = new();
        using LanguageModel model = TestModels.Load(path, backend, batch: 4);
        using Session session = TestModels.ExactSession(model, context: 4);
        session.Evaluate([0, model.VocabularySize - 1], TestContext.Current.CancellationToken);
    }
}
