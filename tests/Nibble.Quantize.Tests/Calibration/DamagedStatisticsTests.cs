using System.Text;
using Nibble.Core.Gguf;
using Nibble.Cpu;
using Nibble.Llm.Models;
using Nibble.Quantize.Calibration;

namespace Nibble.Quantize.Tests.Calibration;

/// <summary>Importance matrices and kept statistics that are damaged are read or refused by the documented exceptions.</summary>
public sealed class DamagedStatisticsTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Importance_matrices_of_both_formats_are_read_or_refused(bool isLegacy)
    {
        string path = _folder.File("matrix");
        if (isLegacy) File.WriteAllBytes(path, Legacy());
        else new ImportanceMatrix([new ImportanceEntry("blk.0.ffn_up_exps.weight", [1, 2, 3, 4], [7, 0]), new ImportanceEntry("blk.0.attn_q.weight", [9, 8, 7], [3])], ["x.txt"], 5, 16).Write(path);
        byte[] whole = File.ReadAllBytes(path);
        (int read, int refused) = Check(path, 3000, whole, 0, () =>
        {
            ImportanceMatrix matrix = ImportanceMatrix.Open(path);
            foreach (ImportanceEntry entry in matrix.Entries) Assert.All(entry.Means(), mean => Assert.True(mean >= 0 && float.IsFinite(mean)));
        }, error => error is ImportanceException or GgufException);
        Assert.True(read > 50 && refused > 500, $"{read} read, {refused} refused");
        Assert.Equal([path], Directory.GetFileSystemEntries(_folder.Root));
    }

    [Fact]
    public void Kept_statistics_are_read_or_refused()
    {
        string source = Fixtures.Golden("architectures", "llama-dense.gguf");
        using LanguageModel model = LanguageModel.Load(GgufFile.Open(source), new RecordingBackend(new CpuBackend(new CpuOptions { Exact = true })));
        int[][] chunks = [[.. Enumerable.Range(3, 20)]];
        string kept = _folder.File("kept");
        CalibrationOptions options = new() { Kinds = StatisticKinds.Hessian | StatisticKinds.Histogram, CacheFolder = kept };
        Calibrator.Run(model, chunks, options, _ => { }, null, TestContext.Current.CancellationToken);
        string path = Directory.GetFiles(kept, "layer-00001.gguf", SearchOption.AllDirectories).Single();
        string[] before = [.. Directory.GetFileSystemEntries(_folder.Root, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal)];
        byte[] whole = File.ReadAllBytes(path);
        StatisticsCache cache = new(kept, model, chunks, options);
        (int read, int refused) = Check(path, 200, whole, 3000, () =>
        {
            List<LayerStatistics> layers = cache.TryRead(1, 2)!;
            foreach (LayerStatistics layer in layers)
            {
                foreach (ActivationStatistics input in layer.Inputs)
                    for (int row = 0; row < input.Columns; row++) _ = input.HessianRow(0, row)[^1];
                layer.Dispose();
            }
        }, error => error is CalibrationException);
        Assert.True(read > 5 && refused > 50, $"{read} read, {refused} refused");
        Assert.Equal(before, Directory.GetFileSystemEntries(_folder.Root, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal));
    }

    private static (int Read, int Refused) Check(string path, int files, byte[] whole, int within, Action read, Func<Exception, bool> isDocumented)
    {
        Random random = new(7);
        int good = 0, refused = 0;
        for (int i = 0; i < files; i++)
        {
            byte[] damaged = Damage.Bytes(random, whole, within);
            File.WriteAllBytes(path, damaged);
            try
            {
                read();
                good++;
            }
            catch (Exception error) when (isDocumented(error))
            {
                refused++;
            }
            catch (Exception error)
            {
                Assert.Fail($"file {i}: {error}\n{Convert.ToHexString(damaged.AsSpan(0, Math.Min(damaged.Length, 1000)))}");
            }
        }

        return (good, refused);
    }

    private static byte[] Legacy()
    {
        using MemoryStream stream = new();
        using BinaryWriter writer = new(stream);
        writer.Write(2);
        foreach ((string name, float[] values) in new (string, float[])[] { ("blk.0.attn_q.weight", [8, 1]), ("output.weight", [2]) })
        {
            writer.Write(name.Length);
            writer.Write(Encoding.UTF8.GetBytes(name));
            writer.Write(4);
            writer.Write(values.Length);
            foreach (float value in values) writer.Write(value);
        }

        writer.Write(3);
        writer.Write(5);
        writer.Write("x.txt"u8);
        return stream.ToArray();
    }
}
