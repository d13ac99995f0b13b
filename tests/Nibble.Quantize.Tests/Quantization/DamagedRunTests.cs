using System.Runtime.InteropServices;
using System.Text;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Quantize.Methods;
using Nibble.Quantize.Quantization;

namespace Nibble.Quantize.Tests.Quantization;

/// <summary>Recipes and what a stopped run left, damaged: a recipe is followed or refused, a run ends in its own bytes, and nothing is left behind.</summary>
public sealed class DamagedRunTests : IDisposable
{
    private readonly TempFolder _folder = new();

    private string Output => _folder.File("out.gguf");

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Recipes_are_followed_or_refused()
    {
        using GgufFile file = GgufFile.Open(Model());
        string path = _folder.File("recipe.json");
        QuantizationPlan plan = QuantizationPlan.Create(file, new PlanOptions { Target = TensorTarget.Find("int4:g32:float"), Method = new HqqRounding(), Overrides = [(new("ffn_up"), TensorTarget.Find("Q4_0")!), (new("ffn_down"), TensorTarget.Find("nf4:double")!)] });
        using (FileStream stream = File.Create(path)) QuantizationRecipe.Of(plan, new RecipeText(new string('a', 64), 64, 8), null).Write(stream);
        string whole = File.ReadAllText(path);
        string[] before = [.. Directory.GetFileSystemEntries(_folder.Root).Order(StringComparer.Ordinal)];
        Random random = new(11);
        int followed = 0;
        for (int i = 0; i < 400; i++)
        {
            byte[] damaged = i % 2 == 0 ? Encoding.UTF8.GetBytes(Damage.Json(random, whole)) : Damage.Bytes(random, Encoding.UTF8.GetBytes(whole));
            File.WriteAllBytes(path, damaged);
            try
            {
                QuantizationPlan read = QuantizationRecipe.Read(path).Plan(file);
                if (read.Needs is not null) continue; // the command asks for a text
                new ModelQuantizer(file, read, null, null).Write(Output, null, TestContext.Current.CancellationToken);
                using (GgufFile written = GgufFile.Open(Output)) Assert.Equal(file.Weights.All.Count, written.Weights.All.Count);
                File.Delete(Output);
                followed++;
            }
            catch (QuantizationException)
            {
                // As documented.
            }
            catch (Exception error)
            {
                Assert.Fail($"file {i}: {error}\n{Encoding.UTF8.GetString(damaged)}");
            }

            Assert.Equal(before, Directory.GetFileSystemEntries(_folder.Root).Order(StringComparer.Ordinal));
        }

        Assert.InRange(followed, 10, 390);
    }

    [Fact]
    public void What_a_stopped_run_left_may_be_damaged_in_any_way()
    {
        using GgufFile file = GgufFile.Open(Model());
        QuantizationPlan plan = QuantizationPlan.Create(file, new PlanOptions { Target = TensorTarget.Find("int4:g32:asym") });
        new ModelQuantizer(file, plan, null, null).Write(Output, null, TestContext.Current.CancellationToken);
        byte[] expected = File.ReadAllBytes(Output);
        File.Delete(Output);
        using CancellationTokenSource stop = new();
        Assert.ThrowsAny<OperationCanceledException>(() => new ModelQuantizer(file, plan, null, null).Write(Output, new Told(progress =>
        {
            if (progress.Tensor.StartsWith("blk.1.ffn_gate", StringComparison.Ordinal)) stop.Cancel();
        }), stop.Token));
        byte[] partial = File.ReadAllBytes(Output + ".partial"), journal = File.ReadAllBytes(Output + ".partial.json");
        Random random = new(13);
        int resumed = 0;
        for (int i = 0; i < 200; i++)
        {
            File.WriteAllBytes(Output + ".partial", i % 2 == 0 ? Damage.Bytes(random, partial) : partial);
            File.WriteAllBytes(Output + ".partial.json", i % 3 == 0 ? journal : i % 3 == 1 ? Damage.Bytes(random, journal) : Encoding.UTF8.GetBytes(string.Join('\n', Encoding.UTF8.GetString(journal).TrimEnd().Split('\n').Select(line => random.Next(4) == 0 ? Damage.Json(random, line) : line))));
            resumed += new ModelQuantizer(file, plan, null, null).Write(Output, null, TestContext.Current.CancellationToken).Resumed;
            Assert.True(expected.AsSpan().SequenceEqual(File.ReadAllBytes(Output)), $"run {i}");
            File.Delete(Output);
            Assert.Equal([file.PartPaths[0]], Directory.GetFileSystemEntries(_folder.Root));
        }

        Assert.True(resumed > 200, $"{resumed} tensors were taken up");
    }

    // Two layers, 64 wide.
    private string Model()
    {
        Random random = new(1);
        GgufWriter writer = new();
        writer.Set("general.architecture", "llama").Set("llama.block_count", 2u);
        foreach (string name in (string[])["token_embd.weight", "output_norm.weight", .. Enumerable.Range(0, 2).SelectMany(layer => (string[])[$"blk.{layer}.attn_q.weight", $"blk.{layer}.ffn_up.weight", $"blk.{layer}.ffn_gate.weight", $"blk.{layer}.ffn_down.weight"])])
        {
            long[] dimensions = name.Contains("norm", StringComparison.Ordinal) ? [64] : [64, 40];
            float[] values = [.. Enumerable.Range(0, (int)dimensions.Aggregate((a, b) => a * b)).Select(_ => random.NextSingle() - 0.5f)];
            writer.AddTensor(name, BlockFormats.F32, dimensions, MemoryMarshal.AsBytes(values.AsSpan()).ToArray());
        }

        string path = _folder.File("in.gguf");
        writer.Write(path);
        return path;
    }

    private sealed class Told(Action<QuantizationProgress> told) : IProgress<QuantizationProgress>
    {
        public void Report(QuantizationProgress value) => told(value);
    }
}
