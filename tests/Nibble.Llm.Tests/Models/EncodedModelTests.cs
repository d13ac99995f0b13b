using System.Runtime.InteropServices;
using Nibble.Core.Compute;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Cpu;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;

namespace Nibble.Llm.Tests.Models;

/// <summary>Models whose matrices are encoded, beside the same ones in float32.</summary>
public sealed class EncodedModelTests : IDisposable
{
    private static readonly SyntheticShape Shape = new() { Width = 128, Layers = 1, Heads = 4, KvHeads = 2, FeedForward = 192, Vocabulary = 300, Context = 64 };

    private readonly TempFolder _folder = new();

    public static TheoryData<string> Names => [.. EncodedSamples.Encodings(64, 1).Keys];

    public static TheoryData<string> FloatInputs => [.. EncodedSamples.Encodings(64, 1).Where(entry => !entry.Value.HasInputScale).Select(entry => entry.Key)];

    public static TheoryData<string> RoundedInputs => [.. EncodedSamples.Encodings(64, 1).Where(entry => entry.Value.HasInputScale).Select(entry => entry.Key)];

    public void Dispose() => _folder.Dispose();

    [Theory]
    [MemberData(nameof(FloatInputs))]
    public void Exact_logits_are_those_of_the_decoded_model_bit_for_bit(string name)
    {
        (string encoded, string decoded) = Write(name);
        int[] ids = [.. Enumerable.Range(0, 20).Select(i => i * 13 % 300)];
        foreach (string device in (string[])["reference", "cpu-exact"])
        {
            using Backend backend = TestModels.Open(device);
            using LanguageModel model = TestModels.Load(encoded, backend, batch: 7), twin = TestModels.Load(decoded, backend, batch: 7);
            using Session session = TestModels.ExactSession(model, 64), other = TestModels.ExactSession(twin, 64);
            float[] logits = TestModels.Logits(session, ids);
            Assert.Equal(TestModels.Logits(other, ids), logits);
            Assert.Contains(logits, logit => Math.Abs(logit) > 0.1f);
            Assert.Equal(model.File.Tensors.Sum(tensor => tensor.ByteLength), model.TensorBytes);
            long embedding = 4L * 128 * 300, norms = 4L * 128 * 3;
            Assert.Equal(model.TensorBytes - embedding - norms, TokenTraffic.WeightBytes(model));
        }

        using GgufFile file = GgufFile.Open(encoded);
        using ReferenceBackend plain = new();
        Assert.Empty(ModelSurvey.Problems(file, plain));
    }

    [Theory]
    [MemberData(nameof(RoundedInputs))]
    public void Exact_logits_with_stored_scales_of_inputs_agree_and_are_not_those_of_the_decoded_model(string name)
    {
        (string encoded, string decoded) = Write(name);
        int[] ids = [.. Enumerable.Range(0, 20).Select(i => i * 13 % 300)];
        float[] logits = Of(encoded, "reference");

        // A sum's last bit can move an input to the next whole number, which is 1e-5 of a layer's inputs.
        Assert.InRange(Nmse.Of(Of(encoded, "cpu-exact"), logits), 0, 1e-4);
        Assert.InRange(Nmse.Of(Of(decoded, "reference"), logits), 1e-3, double.MaxValue);

        float[] Of(string path, string device)
        {
            using Backend backend = TestModels.Open(device);
            using LanguageModel model = TestModels.Load(path, backend, batch: 7);
            using Session session = TestModels.ExactSession(model, 64);
            return TestModels.Logits(session, ids);
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Packed_logits_are_near_the_exact_ones_on_every_path_and_the_same_for_any_batch(string name)
    {
        (string encoded, _) = Write(name);
        int[] ids = [.. Enumerable.Range(0, 20).Select(i => i * 13 % 300)];
        float[] exact = Logits(new ReferenceBackend(), 20);
        foreach (CpuPath path in CpuPaths.All.Where(path => path.IsSupported))
        {
            float[] logits = Logits(new CpuBackend(new CpuOptions { Path = path.Name, Threads = 2 }), 20);

            // One layer of seven products and the output: an 8-bit rounding is 3e-5 of normal activations' power, a table's at most as much. FP8 is multiplied as it is.
            Assert.InRange(Nmse.Of(logits, exact), 0, name == "fp8" ? 1e-9 : 1e-3);
            Assert.Equal(logits, Logits(new CpuBackend(new CpuOptions { Path = path.Name, Threads = 1 }), 1));
        }

        float[] Logits(Backend backend, int batch)
        {
            using (backend)
            {
                using LanguageModel model = TestModels.Load(encoded, backend, batch);
                using Session session = TestModels.ExactSession(model, 64);
                return TestModels.Logits(session, ids);
            }
        }
    }

    [Fact]
    public void Packed_encodings_are_not_kept_beside_the_model_and_that_is_told()
    {
        (string encoded, _) = Write("int4");
        using CpuBackend backend = new(new CpuOptions { CacheWeights = true });
        using LanguageModel model = TestModels.Load(encoded, backend);
        Assert.Contains("encoded tensors are packed anew", model.WeightCache!.Problem, StringComparison.Ordinal);
        Assert.Equal((0, 0), (model.WeightCache.MappedBytes, model.WeightCache.WrittenBytes));
        Assert.True(model.UploadBytes > 0);
        Assert.DoesNotContain(Directory.GetFiles(_folder.Root), file => file.EndsWith(".packed", StringComparison.Ordinal));
    }

    [Fact]
    public void A_wrong_shape_is_named_and_a_damaged_description_keeps_the_file_from_running()
    {
        (string path, _) = Write("int4");
        using GgufFile file = GgufFile.Open(path);
        using ReferenceBackend backend = new();
        string name = "blk.0.ffn_up.weight", key = EncodedTensors.KeyPrefix + name;
        Assert.Contains("'blk.0.ffn_up.weight' is [64 x 192]; llama needs [128 x 192 x 1]", Problem(writer =>
        {
            TensorEncoding narrow = EncodedSamples.Encodings(64, 192)["int4"] with { Name = name };
            EncodedTensors.Add(writer, narrow, EncodedSamples.Data(narrow, 1));
        }, except: name), StringComparison.Ordinal);
        Assert.Contains("tensor 'blk.0.ffn_up.weight' is missing", Problem(_ => { }, except: name), StringComparison.Ordinal);
        Assert.Contains(key, Problem(writer => writer.Set(key, "group columns=128"), except: null), StringComparison.Ordinal);

        string Problem(Action<GgufWriter> change, string? except)
        {
            GgufWriter writer = new();
            foreach (GgufEntry entry in file.Metadata)
                if (except is null || entry.Key != EncodedTensors.KeyPrefix + except) writer.Set(entry.Key, entry.Value);
            foreach (GgufTensor tensor in file.Tensors)
                if (except is null || !tensor.Name.StartsWith(except, StringComparison.Ordinal)) writer.AddTensor(tensor);
            change(writer);
            string changed = _folder.File("changed.gguf");
            writer.Write(changed);
            using GgufFile other = GgufFile.Open(changed);
            string found = ModelSurvey.Problems(other, backend)[0];
            Assert.Contains(found, Assert.Throws<GgufException>(() => TestModels.Load(changed, backend)).Message, StringComparison.Ordinal);
            return found;
        }
    }

    // Weights of a magnitude that trained ones have: with larger ones softmax would be all or nothing, and small errors large ones.
    private static EncodedData Scaled(TensorEncoding encoding, EncodedData data, int seed)
    {
        EncodedTensor tensor = new(encoding, data);
        float[] row = new float[encoding.Columns];
        double squares = 0;
        for (int r = 0; r < encoding.Rows; r++)
        {
            tensor.DecodeRow(r, row);
            squares += row.Sum(value => (double)value * value);
        }

        EncodedPartShape part = encoding.Parts().First(shape => shape.Part == EncodedPart.Scales);
        if (part.Format == BlockFormats.I8) return data; // of double quantization
        Random random = new(seed);
        float factor = (float)Math.Sqrt(encoding.Rows / squares), spread = 0.001f * factor;
        float[] scales = [.. Enumerable.Range(0, (int)(part.Width * part.Height)).Select(_ => spread * (3 + random.NextSingle() * 5))];
        byte[] bytes = new byte[part.ByteLength];
        part.Format.Encode(scales, bytes);
        return data.Set(EncodedPart.Scales, bytes);
    }

    private (string Encoded, string Decoded) Write(string name)
    {
        string source = _folder.File("source.gguf"), encodedPath = _folder.File("encoded.gguf"), decodedPath = _folder.File("decoded.gguf");
        Shape.Describe(BlockFormats.F32).Write(source, 1, new SyntheticFormats(BlockFormats.F32, BlockFormats.F32, BlockFormats.F32));
        using GgufFile file = GgufFile.Open(source);
        GgufWriter encoded = new(), decoded = new();
        foreach (GgufEntry entry in file.Metadata)
        {
            encoded.Set(entry.Key, entry.Value);
            decoded.Set(entry.Key, entry.Value);
        }

        int seed = 0;
        foreach (GgufTensor tensor in file.Tensors)
        {
            if (tensor.Rows == 1 || tensor.Name == "token_embd.weight")
            {
                encoded.AddTensor(tensor);
                decoded.AddTensor(tensor);
                continue;
            }

            TensorEncoding encoding = EncodedSamples.Encodings(tensor.Columns, tensor.Rows)[name] with { Name = tensor.Name };
            EncodedData data = Scaled(encoding, EncodedSamples.Data(encoding, ++seed), seed);
            EncodedTensors.Add(encoded, encoding, data);
            EncodedTensor weights = new(encoding, data);
            float[] values = new float[tensor.Columns * tensor.Rows];
            for (int row = 0; row < tensor.Rows; row++)
                weights.DecodeRow(row, values.AsSpan(row * tensor.Columns, tensor.Columns));
            decoded.AddTensor(tensor.Name, BlockFormats.F32, tensor.Dimensions.AsSpan(), MemoryMarshal.AsBytes(values.AsSpan()).ToArray());
        }

        encoded.Write(encodedPath);
        decoded.Write(decodedPath);
        return (encodedPath, decodedPath);
    }
}
