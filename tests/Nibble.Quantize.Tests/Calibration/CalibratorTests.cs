using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Cpu;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;
using Nibble.Quantize.Calibration;

namespace Nibble.Quantize.Tests.Calibration;

/// <summary>Statistics of activations against plain loops over a whole forward pass, and against the first layer's input written out from the file.</summary>
public class CalibratorTests
{
    private const int ChunkTokens = 24;

    private static readonly CalibrationOptions Everything = new() { Kinds = StatisticKinds.Hessian | StatisticKinds.Histogram };

    [Theory]
    [InlineData("llama-dense.gguf", long.MaxValue)]
    [InlineData("llama-dense.gguf", 1L)]
    [InlineData("llama-moe.gguf", long.MaxValue)]
    [InlineData("llama-moe.gguf", 1L)]
    public void Layers_in_one_go_or_one_after_the_other_give_the_sums_of_a_whole_forward_pass(string file, long memoryBytes)
    {
        using LanguageModel model = Load(file);
        List<int[]> chunks = Chunks(model, 3);
        PlainObserver plain = new();
        using (Session session = model.NewSession(new SessionOptions { Context = ChunkTokens, KvFormat = BlockFormats.F32 }))
        {
            RecordingBackend recorder = (RecordingBackend)model.Backend;
            foreach (int[] chunk in chunks)
            {
                session.Rewind(0, TestContext.Current.CancellationToken);
                recorder.Observer = plain;
                session.Evaluate(chunk, TestContext.Current.CancellationToken);
                recorder.Observer = null;
            }
        }

        HashSet<(string, int)> seen = [];
        int layers = 0;
        Calibrator.Run(model, chunks, Everything with { MemoryBytes = memoryBytes }, layer =>
        {
            Assert.Equal(layers++, layer.Layer);
            foreach (ActivationStatistics input in layer.Inputs)
            {
                Assert.All(input.Weights, weight => Assert.StartsWith($"blk.{layer.Layer}.", weight, StringComparison.Ordinal));
                Assert.Equal(input.Counts.Sum() * input.Columns, input.Histogram!.Count);
                foreach (string weight in input.Weights)
                    for (int matrix = 0; matrix < input.Matrices; matrix++)
                        if (Compare(plain, input, weight, matrix)) seen.Add((weight, matrix));
            }
        }, null, TestContext.Current.CancellationToken);
        Assert.Equal(plain.Found.Keys.Where(key => key.Weight.StartsWith("blk.", StringComparison.Ordinal)).Order(), seen.Order());
        Assert.True(seen.Count >= 7 * layers);
    }

    [Fact]
    public void The_first_layer_reads_normed_embeddings()
    {
        using LanguageModel model = Load("llama-dense.gguf");
        List<int[]> chunks = Chunks(model, 2);
        GgufTensor table = model.File.Find("token_embd.weight")!, gain = model.File.Find("blk.0.attn_norm.weight")!;
        int width = table.Columns;
        float[] gains = Decode(gain, 0);
        double epsilon = model.File.Metadata.GetFloat32("llama.attention.layer_norm_rms_epsilon");
        double[] squares = new double[width], magnitudes = new double[width];
        foreach (int id in chunks.SelectMany(chunk => chunk))
        {
            float[] row = Decode(table, id);
            double scale = 1 / Math.Sqrt(row.Average(value => (double)value * value) + epsilon);
            for (int i = 0; i < width; i++)
            {
                double x = row[i] * scale * gains[i];
                squares[i] += x * x;
                magnitudes[i] += Math.Abs(x);
            }
        }

        Calibrator.Run(model, chunks, new CalibrationOptions(), layer =>
        {
            if (layer.Layer > 0) return;
            ActivationStatistics input = layer.Find("blk.0.attn_k.weight")!;
            Assert.Equal(["blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_v.weight"], input.Weights);
            Assert.Equal([2L * ChunkTokens], input.Counts);
            Assert.False(input.HasHessian);
            Assert.Null(input.Histogram);
            for (int i = 0; i < width; i++)
            {
                Assert.Equal(squares[i], input.SquareSums[i], 1e-5 * squares[i]);
                Assert.Equal(magnitudes[i], input.AbsSums[i], 1e-5 * magnitudes[i]);
            }
        }, null, TestContext.Current.CancellationToken);
    }

    [Fact]
    public void The_output_matrix_is_calibrated_where_it_is_asked_for()
    {
        using LanguageModel model = Load("llama-dense.gguf");
        List<int[]> chunks = Chunks(model, 2);
        PlainObserver plain = new();
        RecordingBackend recorder = (RecordingBackend)model.Backend;
        using (Session session = model.NewSession(new SessionOptions { Context = ChunkTokens, KvFormat = BlockFormats.F32 }))
        {
            foreach (int[] chunk in chunks)
            {
                session.Rewind(0, TestContext.Current.CancellationToken);
                foreach (int id in chunk)
                {
                    recorder.Observer = plain;
                    session.Evaluate([id], TestContext.Current.CancellationToken);
                    recorder.Observer = null;
                }
            }
        }

        LayerStatistics? last = null;
        Calibrator.Run(model, chunks, Everything with { IncludesOutput = true }, layer =>
        {
            last = layer;
            if (layer.Layer < model.File.Metadata.GetInt32("llama.block_count")) return;
            ActivationStatistics input = Assert.Single(layer.Inputs);
            Assert.True(Compare(plain, input, Assert.Single(input.Weights), 0));
        }, null, TestContext.Current.CancellationToken);
        Assert.Equal(model.File.Metadata.GetInt32("llama.block_count"), last!.Layer);
    }

    [Fact]
    public void Activations_that_are_not_finite_are_refused_with_the_weight_s_name()
    {
        using TempFolder folder = new();
        GgufWriter writer;
        using (GgufFile file = GgufFile.Open(Fixtures.Golden("architectures", "llama-dense.gguf")))
        {
            writer = new GgufWriter();
            foreach (GgufEntry entry in file.Metadata)
                writer.Set(entry.Key, entry.Value);
            foreach (GgufTensor tensor in file.Tensors)
            {
                if (tensor.Name != "blk.1.attn_norm.weight")
                {
                    writer.AddTensor(tensor);
                    continue;
                }

                byte[] values = new byte[tensor.ByteLength];
                BitConverter.TryWriteBytes(values, float.NaN);
                writer.AddTensor(tensor.Name, tensor.Format, tensor.Dimensions.AsSpan(), values);
            }

            writer.Write(folder.File("nan.gguf"));
        }

        using LanguageModel model = LanguageModel.Load(GgufFile.Open(folder.File("nan.gguf")), new RecordingBackend(new CpuBackend(new CpuOptions { Exact = true })));
        string message = Assert.Throws<CalibrationException>(() => Calibrator.Run(model, Chunks(model, 1), new CalibrationOptions(), _ => { }, null, TestContext.Current.CancellationToken)).Message;
        Assert.Contains("'blk.1.attn_q.weight'", message, StringComparison.Ordinal);
        Assert.Contains("column 0", message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_model_that_records_nothing_is_refused()
    {
        using LanguageModel model = LanguageModel.Load(GgufFile.Open(Fixtures.Golden("architectures", "llama-dense.gguf")), new ReferenceBackend());
        Assert.Contains("RecordingBackend", Assert.Throws<ArgumentException>(() => Calibrator.Run(model, [[1, 2, 3, 4]], new CalibrationOptions(), _ => { }, null, default)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_second_run_takes_everything_from_the_cache_bit_for_bit()
    {
        using TempFolder folder = new();
        using LanguageModel model = Load("llama-moe.gguf");
        List<int[]> chunks = Chunks(model, 2);
        CalibrationOptions options = Everything with { CacheFolder = folder.Root, MemoryBytes = 1 };
        Counter first = new(), second = new(), third = new();
        List<string> before = Digest(model, chunks, options, first);
        Assert.Equal(before, Digest(model, chunks, options, second));
        Assert.NotEqual(0, first.Count);
        Assert.Equal(0, second.Count);

        // What a stopped run left is used, and the rest computed.
        string[] files = [.. Directory.GetFiles(folder.Root, "*.gguf", SearchOption.AllDirectories).Order()];
        Assert.True(files.Length > 1);
        File.Delete(files[^1]);
        Assert.Equal(before, Digest(model, chunks, options, third));
        Assert.Equal(first.Count / files.Length, third.Count);

        // Another text, or other statistics, is another run.
        Counter fourth = new(), fifth = new();
        chunks[1][3] ^= 1;
        Assert.NotEqual(before, Digest(model, chunks, options, fourth));
        Assert.Equal(first.Count, fourth.Count);
        chunks[1][3] ^= 1;
        Digest(model, chunks, options with { Kinds = StatisticKinds.Columns }, fifth);
        Assert.Equal(first.Count, fifth.Count);

        File.WriteAllBytes(files[0], File.ReadAllBytes(files[0])[..^4000]);
        Assert.Contains("Delete", Assert.Throws<CalibrationException>(() => Digest(model, chunks, options, fifth)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("lowest", "has NaN in row 0, column 3")]
    [InlineData("square_sums", "has NaN in row 0, column 3")]
    [InlineData("hessian", "has NaN in row 0, column 3")]
    [InlineData("counts", "count 0 is -1; at least 0 is needed")]
    public void Cached_numbers_that_cannot_be_are_refused(string what, string message)
    {
        using TempFolder folder = new();
        using LanguageModel model = Load("llama-dense.gguf");
        List<int[]> chunks = Chunks(model, 1);
        CalibrationOptions options = Everything with { CacheFolder = folder.Root };
        Digest(model, chunks, options, new Counter());
        string path = Directory.GetFiles(folder.Root, "*.gguf", SearchOption.AllDirectories).Order().First();
        if (what == "counts")
        {
            long[] negative = [-1];
            using GgufFile file = GgufFile.Open(path);
            GgufWriter.From(file).Set("input.0.counts", GgufValue.Array(negative)).Write(folder.File("changed"));
        }
        else
        {
            long offset;
            using (GgufFile file = GgufFile.Open(path)) offset = file.Find("input.0." + what)!.FileOffset;
            byte[] bytes = File.ReadAllBytes(path);
            BitConverter.TryWriteBytes(bytes.AsSpan((int)offset + 12), float.NaN);
            File.WriteAllBytes(folder.File("changed"), bytes);
        }

        File.Move(folder.File("changed"), path, overwrite: true);
        string error = Assert.Throws<CalibrationException>(() => Digest(model, chunks, options, new Counter())).Message;
        Assert.Contains(message, error, StringComparison.Ordinal);
        Assert.Contains($"Delete '{path}'", error, StringComparison.Ordinal);
    }

    private static List<string> Digest(LanguageModel model, List<int[]> chunks, CalibrationOptions options, Counter counter)
    {
        List<string> lines = [];
        Calibrator.Run(model, chunks, options, layer =>
        {
            foreach (ActivationStatistics input in layer.Inputs)
            {
                lines.Add($"{layer.Layer} {string.Join(' ', input.Weights)} {string.Join(' ', input.Counts)} {string.Join(' ', input.Lowest)} {string.Join(' ', input.Highest)}");
                lines.Add($"{string.Join(' ', input.SquareSums)} {string.Join(' ', input.AbsSums)} {input.Histogram?.Width} {string.Join(' ', input.Histogram?.Bins.ToArray() ?? [])}");
                for (int matrix = 0; input.HasHessian && matrix < input.Matrices; matrix++)
                    lines.Add(string.Join(' ', input.HessianRow(matrix, input.Columns / 2).ToArray()));
            }
        }, counter, TestContext.Current.CancellationToken);
        return lines;
    }

    // False where the expert met no token in either.
    private static bool Compare(PlainObserver plain, ActivationStatistics input, string weight, int matrix)
    {
        if (!plain.Found.TryGetValue((weight, matrix), out (long Count, double[,] Sums) expected))
        {
            Assert.Equal(0, input.Counts[matrix]);
            Assert.All(input.SquareSums.Skip(matrix * input.Columns).Take(input.Columns), value => Assert.Equal(0, value));
            return false;
        }

        Assert.Equal(expected.Count, input.Counts[matrix]);
        for (int i = 0; i < input.Columns; i++)
        {
            int at = (matrix * input.Columns) + i;
            double diagonal = expected.Sums[i, i];
            Assert.Equal(diagonal, input.SquareSums[at], 2e-6 * diagonal);
            double bound = Math.Sqrt(diagonal);
            Assert.True(Math.Max(-input.Lowest[at], input.Highest[at]) <= bound * 1.000001);
            Assert.True(Math.Max(-input.Lowest[at], input.Highest[at]) * Math.Sqrt(expected.Count) >= bound * 0.999999);
            ReadOnlySpan<float> row = input.HessianRow(matrix, i);
            for (int j = 0; j < input.Columns; j++)
                Assert.Equal(expected.Sums[i, j], row[j], 4e-6 * Math.Sqrt(diagonal * expected.Sums[j, j]));
        }

        return true;
    }

    private static LanguageModel Load(string file) =>
        LanguageModel.Load(GgufFile.Open(Fixtures.Golden("architectures", file)), new RecordingBackend(new CpuBackend(new CpuOptions { Exact = true })));

    private static List<int[]> Chunks(LanguageModel model, int count)
    {
        Random random = new(11);
        return [.. Enumerable.Range(0, count).Select(_ => Enumerable.Range(0, ChunkTokens).Select(_ => random.Next(model.VocabularySize)).ToArray())];
    }

    private static float[] Decode(GgufTensor tensor, int row)
    {
        float[] values = new float[tensor.Columns];
        tensor.Format.Decode(tensor.Row(row), values);
        return values;
    }

    private sealed class Counter : IProgress<CalibrationProgress>
    {
        public int Count { get; private set; }

        public void Report(CalibrationProgress value) => Count++;
    }
}
