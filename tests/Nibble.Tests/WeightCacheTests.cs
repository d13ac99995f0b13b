using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Cpu;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;

namespace Nibble.Tests;

/// <summary>Models whose packed weights are kept in a file beside them.</summary>
public sealed class WeightCacheTests : IDisposable
{
    private static readonly SyntheticShape s_shape = new() { Width = 256, Layers = 2, Heads = 4, KvHeads = 2, FeedForward = 512, Vocabulary = 300, Context = 64 };

    private readonly TempFolder _folder = new();

    private string Path => _folder.File("model.gguf");

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("Q4_0", false)]
    [InlineData("Q4_K", true)]
    [InlineData("F16", false)]
    public void Logits_are_the_same_to_the_last_bit(string format, bool isTied)
    {
        Write(s_shape with { IsTied = isTied }, BlockFormats.Find(format)!);
        (float[] expected, long plain, WeightCache none) = Run(caches: false);
        Assert.Equal(default, none);
        (float[] first, _, WeightCache written) = Run(caches: true);
        Assert.Equal(expected, first);
        Assert.Equal(new WeightCache(0, new FileInfo(Path + ".packed").Length, null), written);
        (float[] second, long upload, WeightCache used) = Run(caches: true);
        Assert.Equal(expected, second);
        Assert.Equal((0, null), (used.Written, used.Problem));
        Assert.True(used.Mapped > 0);
        Assert.Equal(plain - used.Mapped, upload);
    }

    [Fact]
    public void Experts_are_kept_too()
    {
        Write(
            s_shape with
            {
                Architecture = "qwen3moe",
                FeedForward = 256,
                Keys = [new("qwen3moe.expert_count", 4u), new("qwen3moe.expert_used_count", 2u), new("qwen3moe.expert_feed_forward_length", 256u)],
            },
            BlockFormats.Q4_K);
        float[] expected = Run(caches: false).Logits;
        Assert.Equal(expected, Run(caches: true).Logits);
        (float[] logits, _, WeightCache used) = Run(caches: true);
        Assert.Equal(expected, logits);
        Assert.True(used.Mapped > 0);
    }

    [Fact]
    public void A_problem_is_a_warning_of_the_model()
    {
        Write(s_shape, BlockFormats.Q8_0);
        Run(caches: true);
        File.WriteAllText(Path + ".packed", "no such thing");
        using (Model model = Load(caches: true))
            Assert.Contains(model.Warnings, warning => warning.Contains("too few for a header", StringComparison.Ordinal) && warning.Contains("written anew", StringComparison.Ordinal));
        using (Model model = Load(caches: true))
            Assert.DoesNotContain(model.Warnings, warning => warning.Contains(".packed", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("reference", false, "device 'reference' uses weights as the file has them")]
    [InlineData("cpu", true, "exact products (--exact) use weights as the file has them")]
    public void Where_nothing_is_packed_it_is_refused(string device, bool isExact, string message)
    {
        ArgumentException error = Assert.Throws<ArgumentException>(() => Devices.Open(device, new DeviceOptions { IsExact = isExact, CacheWeights = true }));
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
    }

    private readonly record struct WeightCache(long Mapped, long Written, string? Problem);

    private void Write(SyntheticShape shape, BlockFormat format)
    {
        shape.Describe(format).Write(Path, 5, new SyntheticFormats(format, format, format));
        File.SetLastWriteTimeUtc(Path, DateTime.UtcNow.AddHours(-1));
    }

    private Model Load(bool caches) => Model.Load(Path, new LoadOptions { Device = "cpu", BatchTokens = 8, DeviceOptions = new DeviceOptions { CacheWeights = caches } });

    private (float[] Logits, long UploadBytes, WeightCache Cache) Run(bool caches)
    {
        using Model model = Load(caches);
        using Session session = model.Language.NewSession(new SessionOptions { Context = 32 });
        session.Prefill([1, 7, 260, 33, 290]);
        WeightCache cache = model.Language.WeightCache is { } report ? new WeightCache(report.MappedBytes, report.WrittenBytes, report.Problem) : default;
        return (session.Logits.ToArray(), model.Language.UploadBytes, cache);
    }
}
