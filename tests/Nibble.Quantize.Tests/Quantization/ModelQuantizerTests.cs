using System.Runtime.InteropServices;
using System.Text;
using Nibble.Core.Compute;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Quantize.Calibration;
using Nibble.Quantize.Methods;
using Nibble.Quantize.Quantization;

namespace Nibble.Quantize.Tests.Quantization;

public sealed class ModelQuantizerTests : IDisposable
{
    private readonly TempFolder _folder = new();

    private string Output => Path.Combine(_folder.Root, "out.gguf");

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("Q4_K_M", false, "q4_k_m.gguf")]
    [InlineData("Q4_K_S", true, "q4_k.pure.gguf")]
    public void The_file_equals_the_one_of_llama_quantize_byte_for_byte(string type, bool isPure, string expected)
    {
        string model = Testing.Fixtures.Shared("models", "jargon-6m-bf16.gguf"), matrix = Testing.Fixtures.Shared("fixtures", "jargon-6m", "imatrix.gguf"), golden = Testing.Fixtures.Shared("fixtures", "jargon-6m", expected);
        using GgufFile file = GgufFile.Open(model);
        QuantizationPlan plan = QuantizationPlan.Create(file, FileType.Find(type)!, isPure, true, []);
        QuantizationResult result = new ModelQuantizer(file, plan, ImportanceMatrix.Open(matrix), "imatrix.gguf").Write(Output, null, TestContext.Current.CancellationToken);
        Assert.Equal(["token_embd.weight"], result.Unweighted);
        AssertSame(golden, Output);
        Assert.Equal([Output], Directory.GetFiles(_folder.Root));
    }

    [Theory]
    [InlineData("Q4_K_S")]
    [InlineData("int4:g64:asym")]
    [InlineData("nf4:double")]
    public void A_run_that_was_stopped_goes_on_and_ends_in_the_same_bytes(string type)
    {
        using GgufFile file = GgufFile.Open(Model());
        QuantizationPlan plan = FileType.Find(type) is null ? QuantizationPlan.Create(file, new PlanOptions { Target = TensorTarget.Find(type) }) : Plan(file, type);
        string whole = Path.Combine(_folder.Root, "whole.gguf");
        Assert.Equal(0, new ModelQuantizer(file, plan, null, null).Write(whole, null, TestContext.Current.CancellationToken).Resumed);
        for (int stopAfter = 1; stopAfter <= plan.Tensors.Length; stopAfter += 3)
        {
            using CancellationTokenSource stop = new();
            HashSet<string> seen = [];
            Assert.ThrowsAny<OperationCanceledException>(() => new ModelQuantizer(file, plan, null, null).Write(Output, new Told(progress =>
            {
                lock (seen)
                    if (seen.Add(progress.Tensor) && seen.Count > stopAfter) stop.Cancel();
            }), stop.Token));
            Assert.False(File.Exists(Output));
            Assert.True(File.Exists(Output + ".partial") && File.Exists(Output + ".partial.json"));
            QuantizationResult result = new ModelQuantizer(file, plan, null, null).Write(Output, null, TestContext.Current.CancellationToken);
            Assert.InRange(result.Resumed, stopAfter, stopAfter + 1);
            AssertSame(whole, Output);
            Assert.False(File.Exists(Output + ".partial") || File.Exists(Output + ".partial.json"));
            File.Delete(Output);
        }
    }

    [Fact]
    public void What_an_earlier_run_left_counts_only_where_job_input_and_output_are_the_same()
    {
        string path = Model();
        using GgufFile file = GgufFile.Open(path);
        QuantizationPlan plan = Plan(file, "Q4_K_S");
        string whole = Path.Combine(_folder.Root, "whole.gguf");
        new ModelQuantizer(file, plan, null, null).Write(whole, null, TestContext.Current.CancellationToken);
        string journal = Output + ".partial.json", partial = Output + ".partial";
        Stop(file, plan);
        byte[] bytes = File.ReadAllBytes(partial), lines = File.ReadAllBytes(journal);
        int finished = File.ReadAllLines(journal).Length - 1;
        Assert.True(finished > 3);

        // Another job.
        Assert.Equal(0, Resumed(file, Plan(file, "Q4_0")));

        // The journal's last line was cut off while it was written; then the whole journal is of no use.
        Assert.Equal(finished - 1, Restored(bytes, lines[..^9]));
        Assert.Equal(0, Restored(bytes, Encoding.UTF8.GetBytes("{}\nno JSON\n")));

        // A byte of a finished tensor is not what was written, or is missing.
        byte[] damaged = [.. bytes];
        damaged[file.Alignment + bytes.Length / 2] ^= 1;
        Assert.Equal(finished - 1, Restored(damaged, lines));
        Assert.InRange(Restored(bytes[..(bytes.Length / 2)], lines), 1, finished - 1);

        // Another model of the same shape.
        using GgufFile other = GgufFile.Open(Model(seed: 99));
        File.WriteAllBytes(partial, bytes);
        File.WriteAllBytes(journal, lines);
        Assert.InRange(Resumed(other, Plan(other, "Q4_K_S")), 0, finished - 1);

        int Restored(byte[] content, byte[] notes)
        {
            File.WriteAllBytes(partial, content);
            File.WriteAllBytes(journal, notes);
            int resumed = Resumed(file, plan);
            AssertSame(whole, Output);
            return resumed;
        }

        int Resumed(GgufFile model, QuantizationPlan planned) => new ModelQuantizer(model, planned, null, null).Write(Output, null, TestContext.Current.CancellationToken).Resumed;
    }

    [Theory]
    [InlineData("int4:g64:asym", float.NaN)]
    [InlineData("nf4:double", float.NaN)]
    [InlineData("llm.int8", float.PositiveInfinity)]
    public void An_encoding_names_a_value_that_is_no_finite_number_too(string target, float value)
    {
        using GgufFile file = GgufFile.Open(Model(odd: value));
        QuantizationPlan plan = QuantizationPlan.Create(file, new PlanOptions { Target = TensorTarget.Find(target) });
        string message = Assert.Throws<QuantizationException>(() => new ModelQuantizer(file, plan, null, null).Write(Output, null, TestContext.Current.CancellationToken)).Message;
        Assert.Contains("tensor 'blk.1.ffn_up.weight', row 2: the input holds", message, StringComparison.Ordinal);
        Assert.DoesNotContain(Directory.GetFiles(_folder.Root), name => name.Contains("out.gguf", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("int4:g64", 1e6f)]
    [InlineData("llm.int8", 1e5f)]
    public void An_encoding_refuses_a_value_that_its_scales_cannot_hold(string target, float value)
    {
        using GgufFile file = GgufFile.Open(Model(odd: value));
        QuantizationPlan plan = QuantizationPlan.Create(file, new PlanOptions { Target = TensorTarget.Find(target) });
        string message = Assert.Throws<QuantizationException>(() => new ModelQuantizer(file, plan, null, null).Write(Output, null, TestContext.Current.CancellationToken)).Message;
        Assert.Contains($"tensor 'blk.1.ffn_up.weight', row 2: its largest value is {value:R}, and as {target} it would hold", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.NegativeInfinity)]
    public void A_value_that_is_no_finite_number_is_named_and_nothing_is_left(float value)
    {
        using GgufFile file = GgufFile.Open(Model(odd: value));
        string message = Assert.Throws<QuantizationException>(() => new ModelQuantizer(file, Plan(file, "Q4_0"), null, null).Write(Output, null, TestContext.Current.CancellationToken)).Message;
        Assert.Contains("tensor 'blk.1.ffn_up.weight', row 2: the input holds", message, StringComparison.Ordinal);
        Assert.Contains("in column 77", message, StringComparison.Ordinal);
        Assert.DoesNotContain(Directory.GetFiles(_folder.Root), name => name.Contains("out.gguf", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("Q8_0", 3e38f)]
    [InlineData("F16", 70000f)]
    [InlineData("Q4_1", 1e6f)]
    [InlineData("Q6_K", 1e30f)]
    public void A_value_that_a_format_cannot_hold_is_named_and_nothing_is_left(string type, float value)
    {
        using GgufFile file = GgufFile.Open(Model(odd: value));
        string message = Assert.Throws<QuantizationException>(() => new ModelQuantizer(file, Plan(file, type), null, null).Write(Output, null, TestContext.Current.CancellationToken)).Message;
        Assert.Contains($"tensor 'blk.1.ffn_up.weight', row 2: its largest value is {value:R}, and as {type} it would hold", message, StringComparison.Ordinal);
        Assert.DoesNotContain(Directory.GetFiles(_folder.Root), name => name.Contains("out.gguf", StringComparison.Ordinal));
    }

    [Fact]
    public void The_number_of_threads_does_not_change_the_bytes()
    {
        using GgufFile file = GgufFile.Open(Model());
        string one = Path.Combine(_folder.Root, "one.gguf");
        new ModelQuantizer(file, Plan(file, "Q5_K_M"), null, null) { Threads = 1 }.Write(one, null, TestContext.Current.CancellationToken);
        new ModelQuantizer(file, Plan(file, "Q5_K_M"), null, null) { Threads = 5 }.Write(Output, null, TestContext.Current.CancellationToken);
        AssertSame(one, Output);
    }

    [Fact]
    public void Each_expert_is_rounded_by_its_own_importances()
    {
        using GgufFile file = GgufFile.Open(Model());
        Random random = new(3);
        float[] sums = [.. Enumerable.Range(0, 3 * 256).Select(_ => random.NextSingle() + 0.01f)];
        ImportanceMatrix matrix = new([new ImportanceEntry("blk.0.ffn_down_exps.weight", sums, [2, 0, 4])], ["text"], 7, 512);
        QuantizationResult result = new ModelQuantizer(file, QuantizationPlan.Create(file, FileType.Find("Q4_0")!, true, true, []), matrix, "matrix").Write(Output, null, TestContext.Current.CancellationToken);
        Assert.Contains("blk.0.ffn_up.weight", result.Unweighted);
        Assert.DoesNotContain("blk.0.ffn_down_exps.weight", result.Unweighted);
        using GgufFile written = GgufFile.Open(Output);
        Assert.Equal("text", written.Metadata.GetString("quantize.imatrix.dataset"));
        Assert.Equal((1, 7, 2), (written.Metadata.GetInt32("quantize.imatrix.entries_count"), written.Metadata.GetInt32("quantize.imatrix.chunks_count"), written.Metadata.GetInt32("general.file_type")));
        GgufTensor source = file.Find("blk.0.ffn_down_exps.weight")!, actual = written.Find("blk.0.ffn_down_exps.weight")!;
        float[] row = new float[256];
        byte[] expected = new byte[BlockFormats.Q4_0.RowBytes(256)];
        for (int r = 0; r < source.RowCount; r++)
        {
            source.Format.Decode(source.Row(r), row);
            int expert = r / source.Rows;

            // Nothing went into the second expert, so that all its columns count alike.
            float[] importance = [.. sums.Skip(256 * expert).Take(256).Select(sum => expert == 1 ? 1 : sum / (expert == 0 ? 2 : 4))];
            BlockFormats.Q4_0.EncodeRow(row, importance, expected);
            Assert.Equal(expected, actual.Row(r).ToArray());
        }
    }

    [Fact]
    public void A_type_that_needs_importances_is_refused_without_them()
    {
        using GgufFile file = GgufFile.Open(Model());
        string message = Assert.Throws<QuantizationException>(() => new ModelQuantizer(file, Plan(file, "Q2_K_S"), null, null).Write(Output, null, TestContext.Current.CancellationToken)).Message;
        Assert.Contains("--importance", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Encoded_tensors_are_rounded_again_from_their_values_and_leave_no_description()
    {
        using GgufFile plain = GgufFile.Open(Model());
        GgufWriter writer = new();
        foreach (GgufEntry entry in plain.Metadata)
            writer.Set(entry.Key, entry.Value);
        foreach (GgufTensor tensor in plain.Tensors.Where(tensor => tensor.Name is not ("blk.0.attn_v.weight" or "blk.1.attn_q.weight"))) writer.AddTensor(tensor);
        foreach ((string name, string encoding) in new[] { ("blk.0.attn_v.weight", "int4-zeros"), ("blk.1.attn_q.weight", "nf4"), ("blk.0.ffn_gate_inp.weight", "int8") })
        {
            TensorEncoding described = EncodedSamples.Encodings(256, 33)[encoding] with { Name = name };
            EncodedTensors.Add(writer, described, EncodedSamples.Data(described, 5));
        }

        string path = Path.Combine(_folder.Root, "encoded.gguf");
        writer.Write(path);
        using GgufFile file = GgufFile.Open(path);
        QuantizationPlan plan = QuantizationPlan.Create(file, FileType.Find("Q8_0")!, true, false, []);
        Assert.Equal(["blk.0.attn_v.weight", "blk.1.attn_q.weight"], plan.Tensors.Where(tensor => tensor.IsRoundedAgain).Select(tensor => tensor.Source.Name));
        new ModelQuantizer(file, plan, null, null).Write(Output, null, TestContext.Current.CancellationToken);
        using GgufFile written = GgufFile.Open(Output);
        Assert.Empty(written.Weights.Encoded);
        Assert.DoesNotContain(written.Metadata, entry => entry.Key.StartsWith("nibble.", StringComparison.Ordinal));
        Assert.Equal(file.Weights.All.Select(weight => weight.Name).Order(StringComparer.Ordinal), written.Tensors.Select(tensor => tensor.Name).Order(StringComparer.Ordinal));
        foreach (IWeightSource source in file.Weights.Encoded)
        {
            GgufTensor tensor = written.Find(source.Name)!;
            bool isRouter = source.Name.Contains("gate_inp", StringComparison.Ordinal);
            Assert.Equal(isRouter ? BlockFormats.F32 : BlockFormats.Q8_0, tensor.Format);
            float[] row = new float[256];
            byte[] expected = new byte[tensor.Format.RowBytes(256)];
            for (int r = 0; r < source.RowCount; r++)
            {
                source.CopyRow(r, row);
                tensor.Format.EncodeRow(row, [], expected);
                Assert.Equal(expected, tensor.Row(r));
            }
        }
    }

    private void Stop(GgufFile file, QuantizationPlan plan)
    {
        using CancellationTokenSource stop = new();
        Assert.ThrowsAny<OperationCanceledException>(() => new ModelQuantizer(file, plan, null, null).Write(Output, new Told(progress =>
        {
            if (progress.Tensor.StartsWith("blk.1.ffn", StringComparison.Ordinal)) stop.Cancel();
        }), stop.Token));
    }

    private static QuantizationPlan Plan(GgufFile file, string type) => QuantizationPlan.Create(file, FileType.Find(type)!, false, false, []);

    private static void AssertSame(string expected, string actual)
    {
        byte[] left = File.ReadAllBytes(expected), right = File.ReadAllBytes(actual);
        int at = left.AsSpan().CommonPrefixLength(right);
        Assert.True(at == left.Length && at == right.Length, $"{left.Length} and {right.Length} bytes; they differ at byte {at}");
    }

    // Two layers, 256 wide, with three experts; one value may be odd.
    private string Model(int seed = 1, float odd = 0)
    {
        Random random = new(seed);
        GgufWriter writer = new();
        writer.Set("general.architecture", "llama").Set("llama.block_count", 2u).Set("llama.attention.head_count", 4u).Set("general.file_type", 1u).Set("llama.context_length", 64u);
        Add("token_embd.weight", 256, 40);
        Add("output_norm.weight", 256);
        for (int layer = 0; layer < 2; layer++)
        {
            foreach (string name in (string[])["attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_gate"]) Add($"blk.{layer}.{name}.weight", 256, 33);
            Add($"blk.{layer}.ffn_down_exps.weight", 256, 5, 3);
            Add($"blk.{layer}.attn_norm.weight", 256);
        }

        string path = Path.Combine(_folder.Root, $"in-{Guid.NewGuid():N}.gguf");
        writer.Write(path);
        return path;

        void Add(string name, params long[] dimensions)
        {
            float[] values = [.. Enumerable.Range(0, (int)dimensions.Aggregate((a, b) => a * b)).Select(_ => random.NextSingle() - 0.5f)];
            if (odd != 0 && name == "blk.1.ffn_up.weight") values[2 * 256 + 77] = odd;
            writer.AddTensor(name, BlockFormats.F32, dimensions, MemoryMarshal.AsBytes(values.AsSpan()).ToArray());
        }
    }

    private sealed class Told(Action<QuantizationProgress> told) : IProgress<QuantizationProgress>
    {
        public void Report(QuantizationProgress value) => told(value);
    }
}
