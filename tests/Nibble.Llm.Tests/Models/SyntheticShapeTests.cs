using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;
using Nibble.Llm.Tokenizers;

namespace Nibble.Llm.Tests.Models;

/// <summary>Models of random weights for benchmarks.</summary>
public sealed class SyntheticShapeTests : IDisposable
{
    private static readonly SyntheticShape Tiny = new() { Width = 256, Layers = 2, Heads = 8, KvHeads = 2, FeedForward = 512, Vocabulary = 400, Context = 64 };

    private readonly string _folder = Directory.CreateTempSubdirectory("nibble-synth-").FullName;

    /// <summary>Every format of weights.</summary>
    public static TheoryData<string> Formats => [.. BlockFormats.All.Select(format => format.Name)];

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [MemberData(nameof(Formats))]
    public void A_model_of_every_format_runs_and_its_logits_are_spread(string name)
    {
        BlockFormat format = BlockFormats.Find(name)!;
        string path = Write(Tiny, format, 1);
        using (GgufFile file = GgufFile.Open(path))
        {
            Assert.Equal(format, file.Find("blk.1.ffn_down.weight")!.Format);
            Assert.Equal(format, file.Find("token_embd.weight")!.Format);
            Assert.Equal(BlockFormats.F32, file.Find("blk.1.ffn_norm.weight")!.Format);
            float[] gains = new float[256];
            BlockFormats.F32.Decode(file.Find("blk.1.ffn_norm.weight")!.Row(0), gains);
            Assert.All(gains, gain => Assert.Equal(1, gain));
        }

        float[] logits = Logits(path);
        Assert.All(logits, logit => Assert.True(float.IsFinite(logit)));
        double mean = logits.Average(logit => (double)logit);
        Assert.InRange(Math.Sqrt(logits.Average(logit => (logit - mean) * (logit - mean))), 0.7, 1.4);
    }

    [Fact]
    public void Threads_do_not_matter_for_the_bytes_and_the_seed_does()
    {
        byte[] one = File.ReadAllBytes(Write(Tiny, BlockFormats.Q5_K, 3, threads: 1));
        Assert.Equal(one, File.ReadAllBytes(Write(Tiny, BlockFormats.Q5_K, 3, threads: 5)));
        byte[] other = File.ReadAllBytes(Write(Tiny, BlockFormats.Q5_K, 4));
        Assert.Equal(one.Length, other.Length);
        Assert.NotEqual(one, other);
    }

    [Fact]
    public void Rows_differ_from_one_another()
    {
        using GgufFile file = GgufFile.Open(Write(Tiny, BlockFormats.Q4_0, 1));
        GgufTensor tensor = file.Find("blk.0.ffn_up.weight")!, next = file.Find("blk.1.ffn_up.weight")!;
        HashSet<string> rows = [];
        for (int row = 0; row < tensor.Rows; row++)
            Assert.True(rows.Add(Convert.ToHexString(tensor.Row(row))) && rows.Add(Convert.ToHexString(next.Row(row))), $"row {row} is there twice");
    }

    [Fact]
    public void Embedding_and_output_take_formats_of_their_own_and_tied_leaves_the_output_out()
    {
        string path = Path.Combine(_folder, "mixed.gguf");
        Tiny.Describe(BlockFormats.Q4_0).Write(path, 1, new SyntheticFormats(BlockFormats.Q4_0, BlockFormats.Q8_0, BlockFormats.Q6_K));
        using (GgufFile file = GgufFile.Open(path))
        {
            Assert.Equal(BlockFormats.Q8_0, file.Find("token_embd.weight")!.Format);
            Assert.Equal(BlockFormats.Q6_K, file.Find("output.weight")!.Format);
            Assert.Equal(BlockFormats.Q4_0, file.Find("blk.0.attn_k.weight")!.Format);
            Assert.Equal(2, file.Metadata.GetInt64("general.file_type"));
        }

        using GgufFile tied = GgufFile.Open(Write(Tiny with { IsTied = true }, BlockFormats.Q4_0, 1));
        Assert.Null(tied.Find("output.weight"));
    }

    [Fact]
    public void The_usual_shape_is_the_model_of_1_1_billion_weights()
    {
        SyntheticModel model = new SyntheticShape().Describe(BlockFormats.Q4_0);
        Assert.Equal(1_100_048_384, model.Tensors.Sum(tensor => (long)tensor.Columns * tensor.Rows * tensor.Matrices));
        Assert.Equal(3 + (22 * 9), model.Tensors.Length);
    }

    [Fact]
    public void The_tokenizer_encodes_every_text_and_gives_it_back()
    {
        string path = Write(Tiny with { Vocabulary = 2000 }, BlockFormats.Q4_0, 1);
        using GgufFile file = GgufFile.Open(path);
        Tokenizer tokenizer = Tokenizer.FromMetadata(file.Metadata);
        const string text = "The quick brown fox, 12 wörds \u4f60\n\tand a tab";
        int[] ids = tokenizer.Encode(text, parseSpecial: false, addBosEos: true);
        Assert.Equal(1, ids[0]);
        Assert.InRange(ids.Length, 2, text.Length);
        Assert.Equal(text, tokenizer.Decode(ids.AsSpan(1), renderSpecial: false).TrimStart(' '));
        Assert.Empty(tokenizer.Warnings);
    }

    [Fact]
    public void Experts_of_another_architecture_are_quantized_and_their_router_is_not()
    {
        KeyValuePair<string, GgufValue>[] keys = [new("qwen3moe.expert_count", 4u), new("qwen3moe.expert_used_count", 2u), new("qwen3moe.expert_feed_forward_length", 256u)];
        string path = Write(Tiny with { Architecture = "qwen3moe", Keys = keys }, BlockFormats.Q4_K, 1);
        using (GgufFile file = GgufFile.Open(path))
        {
            Assert.Equal(BlockFormats.Q4_K, file.Find("blk.0.ffn_up_exps.weight")!.Format);
            Assert.Equal(4, file.Find("blk.0.ffn_up_exps.weight")!.Matrices);
            Assert.Equal(BlockFormats.F32, file.Find("blk.0.ffn_gate_inp.weight")!.Format);
        }

        Assert.All(Logits(path), logit => Assert.True(float.IsFinite(logit)));
    }

    [Fact]
    public void Sizes_that_do_not_fit_are_named_with_those_that_do()
    {
        void Refused(SyntheticShape shape, BlockFormat format, params string[] parts)
        {
            string message = Assert.ThrowsAny<ArgumentException>(() => Write(shape, format, 1)).Message;
            Assert.All(parts, part => Assert.Contains(part, message, StringComparison.Ordinal));
        }

        Refused(Tiny with { FeedForward = 544 }, BlockFormats.Q4_K, "ffn_down", "544", "multiple of 256", "512 or 768", "Q8_0");
        Refused(Tiny with { Width = 250 }, BlockFormats.Q4_0, "250", "multiple of 8");
        Refused(Tiny with { KvHeads = 3 }, BlockFormats.Q4_0, "8 heads", "3 groups");
        Refused(Tiny with { Vocabulary = 100 }, BlockFormats.Q4_0, "100", "259");
        Assert.Contains("expert_used_count", Assert.Throws<GgufException>(() => Write(Tiny with { Architecture = "qwen3moe" }, BlockFormats.Q4_0, 1)).Reason, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(_folder));
    }

    [Fact]
    public void A_stopped_write_leaves_what_was_there()
    {
        string path = Path.Combine(_folder, "old.gguf");
        File.WriteAllText(path, "old");
        using CancellationTokenSource source = new();
        source.Cancel();
        Assert.ThrowsAny<OperationCanceledException>(() => Tiny.Describe(BlockFormats.Q4_0).Write(path, 1, new(BlockFormats.Q4_0, BlockFormats.Q4_0, BlockFormats.Q4_0), cancellation: source.Token));
        Assert.Equal("old", File.ReadAllText(path));
        Assert.Single(Directory.GetFiles(_folder));
    }

    private static float[] Logits(string path)
    {
        using GgufFile file = GgufFile.Open(path);
        using ReferenceBackend backend = new();
        using LanguageModel model = LanguageModel.Load(file, backend);
        using Session session = model.NewSession(new SessionOptions { Context = 8 });
        float[] last = [];
        session.Evaluate([1, 300, 77, 390], 3, (_, logits) => last = logits.ToArray());
        return last;
    }

    private string Write(SyntheticShape shape, BlockFormat format, ulong seed, int threads = 0)
    {
        string path = Path.Combine(_folder, $"{Guid.NewGuid():N}.gguf");
        shape.Describe(format).Write(path, seed, new SyntheticFormats(format, format, format), threads);
        return path;
    }
}
