using System.Globalization;
using System.Runtime.InteropServices;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Core.Safetensors;
using Nibble.Cpu;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;
using Nibble.Quantize.Import;

namespace Nibble.Quantize.Tests.Import;

/// <summary>
/// The checkpoints of the toolkits (../shared/fixtures/checkpoints): logits against transformers, and every matrix against what the toolkit's own dequantization gives, in the checkpoint's order.
/// </summary>
public class CheckpointImportTests
{
    private const int Heads = 4, KvHeads = 2, Layers = 2;

    public static TheoryData<string> Folders() =>
    [
        "float32", "bfloat16", "float16", "gptq-v1", "gptq-v1-actorder", "gptq-v1-asym", "gptq-v2", "gptq-8bit", "awq-gemm", "bnb-nf4", "bnb-nf4-double", "bnb-fp4", "bnb-int8", "ct-pack-quantized",
        "ct-asym", "ct-int8", "mxfp4", "hqq-4bit", "fp8",
    ];

    [Theory]
    [MemberData(nameof(Folders))]
    public void Logits_are_those_of_transformers(string name)
    {
        string source = Fixtures.Shared("fixtures", "checkpoints", name);
        using TempFolder folder = new();
        Import(source, folder.File("model.gguf"));
        int[] tokens = [.. File.ReadAllText(Fixtures.Shared("fixtures", "checkpoints", "tokens.txt")).Split(',').Select(id => int.Parse(id, CultureInfo.InvariantCulture))];
        float[] golden = Nmse.ReadFloats(Path.Combine(source, "logits.f32"));
        Assert.InRange(Nmse.Of(Logits(folder.File("model.gguf"), tokens, new CpuBackend(new CpuOptions { Exact = true })), golden), 0, 1e-9);
        Assert.InRange(Nmse.Of(Logits(folder.File("model.gguf"), tokens, new ReferenceBackend()), golden), 0, 1e-9);
    }

    [Theory]
    [MemberData(nameof(Folders))]
    public void Logits_with_rounded_activations_are_near_on_every_path(string name)
    {
        string source = Fixtures.Shared("fixtures", "checkpoints", name);
        using TempFolder folder = new();
        Import(source, folder.File("model.gguf"));
        int[] tokens = [.. File.ReadAllText(Fixtures.Shared("fixtures", "checkpoints", "tokens.txt")).Split(',').Select(id => int.Parse(id, CultureInfo.InvariantCulture))];
        float[] golden = Nmse.ReadFloats(Path.Combine(source, "logits.f32"));
        foreach (CpuPath path in CpuPaths.All.Where(path => path.IsSupported))
        {
            double error = Nmse.Of(Logits(folder.File("model.gguf"), tokens, new CpuBackend(new CpuOptions { Path = path.Name })), golden);
            TestContext.Current.TestOutputHelper?.WriteLine($"{name} on {path.Name}: {error:E2}");

            // Two layers of seven products each: an 8-bit rounding of normal activations is 3e-5 of their power, and some columns here are 8 times larger. FP8 and floats are multiplied as they are.
            Assert.InRange(error, 0, name is "float32" or "bfloat16" or "float16" or "fp8" ? 1e-9 : 1e-3);
        }
    }

    [Theory]
    [MemberData(nameof(Folders))]
    public void Matrices_are_those_of_the_toolkit(string name)
    {
        string source = Fixtures.Shared("fixtures", "checkpoints", name);
        if (name == "float32") return; // the fixture has no other form of these weights
        using TempFolder folder = new();
        Import(source, folder.File("model.gguf"));
        using GgufFile file = GgufFile.Open(folder.File("model.gguf"));
        using SafetensorsFile rows = SafetensorsFile.Open(Path.Combine(source, "dequantized.safetensors"));
        int matrices = 0;
        foreach (string line in File.ReadLines(Path.Combine(source, "dequantized.txt")))
        {
            string[] fields = line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
            if (!fields[0].StartsWith("model.layers.", StringComparison.Ordinal)) continue;
            float[][] weights = ImportedWeights.InCheckpointOrder(file, fields[0], Heads, KvHeads);
            Assert.Equal(int.Parse(fields[1], CultureInfo.InvariantCulture), weights.Length);
            Assert.Equal(int.Parse(fields[2], CultureInfo.InvariantCulture), weights[0].Length);
            Assert.Equal(fields[3], ImportedWeights.Crc32(weights).ToString("x8", CultureInfo.InvariantCulture), ignoreCase: true);
            string layer = fields[0][..^".weight".Length];
            ReadOnlySpan<int> indices = MemoryMarshal.Cast<byte, int>(rows.Find(layer + ".rows")!.Bytes());
            ReadOnlySpan<float> expected = MemoryMarshal.Cast<byte, float>(rows.Find(layer + ".weight")!.Bytes());
            Assert.Equal(8, indices.Length);
            for (int i = 0; i < indices.Length; i++)
                for (int j = 0; j < weights[0].Length; j++)
                    Assert.True(weights[indices[i]][j] == expected[(i * weights[0].Length) + j], $"{fields[0]} row {indices[i]}, column {j}: {weights[indices[i]][j]}, not {expected[(i * weights[0].Length) + j]}");
            matrices++;
        }

        Assert.Equal(7 * Layers, matrices);
    }

    [Fact]
    public void The_trained_model_gives_the_tensors_of_its_gguf_file()
    {
        string source = Fixtures.Shared("models", "jargon-6m");
        using TempFolder folder = new();
        Import(source, folder.File("model.gguf"));
        using GgufFile ours = GgufFile.Open(folder.File("model.gguf")), theirs = GgufFile.Open(Fixtures.Shared("models", "jargon-6m-bf16.gguf"));
        Assert.Equal(theirs.Tensors.Select(tensor => tensor.ToString()).Order(StringComparer.Ordinal), ours.Tensors.Select(tensor => tensor.ToString()).Order(StringComparer.Ordinal));
        foreach (GgufTensor tensor in theirs.Tensors)
            for (long row = 0; row < tensor.RowCount; row++)
                Assert.True(tensor.Row(row).SequenceEqual(ours.Find(tensor.Name)!.Row(row)), $"{tensor.Name} row {row}");
        foreach (GgufEntry entry in theirs.Metadata)
        {
            // Whoever made the file knew more about it than the folder says.
            if (entry.Key is "general.license" or "general.size_label" or "general.quantization_version") continue;
            Assert.True(ours.Metadata.TryGetValue(entry.Key, out GgufValue value), entry.Key);
            Assert.Equal(entry.Value, value);
        }
    }

    internal static void Import(string source, string path)
    {
        using ModelImport import = ModelImport.Open(source);
        import.Write(path);
    }

    internal static float[] Logits(string path, int[] tokens, Backend backend)
    {
        using (backend)
        {
            using LanguageModel model = LanguageModel.Load(GgufFile.Open(path), backend);
            using Session session = model.NewSession(new SessionOptions { Context = tokens.Length, KvFormat = BlockFormats.F32 });
            List<float> logits = [];
            session.Evaluate(tokens, 0, (_, row) => logits.AddRange(row), TestContext.Current.CancellationToken);
            return [.. logits];
        }
    }
}
