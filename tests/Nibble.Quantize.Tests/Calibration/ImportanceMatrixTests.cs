using System.Text;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Quantize.Calibration;

namespace Nibble.Quantize.Tests.Calibration;

/// <summary>Both of llama.cpp's formats, with a file of llama-imatrix as the oracle of the GGUF one and bytes made by hand for the other.</summary>
public class ImportanceMatrixTests
{
    [Fact]
    public void A_file_of_llama_imatrix_is_read_and_written_to_the_same_bytes()
    {
        string golden = Fixtures.Golden("jargon-6m", "imatrix.gguf");
        ImportanceMatrix matrix = ImportanceMatrix.Open(golden);
        Assert.Equal(400, matrix.ChunkCount);
        Assert.Equal(512, matrix.ChunkTokens);
        Assert.Equal("calibration.txt", Assert.Single(matrix.Datasets));
        Assert.Equal(42, matrix.Entries.Count);
        using TempFolder folder = new();
        matrix.Write(folder.File("copy.gguf"));
        Assert.Equal(File.ReadAllBytes(golden), File.ReadAllBytes(folder.File("copy.gguf")));
    }

    [Fact]
    public void Means_are_sums_divided_by_the_count_of_their_expert_and_one_where_it_never_ran()
    {
        ImportanceEntry entry = new("w", [2, 4, 6, 8, 5, 5], [2, 4, 0]);
        Assert.Equal([1f, 2f, 1.5f, 2f, 1f, 1f], entry.Means());
        Assert.True(entry.IsPartial);
        ImportanceMatrix matrix = new([entry], [], 1, 8);
        Assert.Equal(entry.Means(), matrix.Means(new Source("w", 2, 3)));
        Assert.Null(matrix.Means(new Source("v", 2, 3)));
        Assert.Contains("another model", Assert.Throws<ArgumentException>(() => matrix.Means(new Source("w", 3, 3))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Experts_come_back_with_a_count_each()
    {
        using TempFolder folder = new();
        ImportanceMatrix matrix = new([new ImportanceEntry("blk.0.ffn_up_exps.weight", [1, 2, 3, 4], [7, 0]), new ImportanceEntry("a", [9], [3])], ["x.txt", "y.txt"], 5, 16);
        matrix.Write(folder.File("m.gguf"));
        using (GgufFile file = GgufFile.Open(folder.File("m.gguf")))
        {
            Assert.Equal(["a.in_sum2", "a.counts", "blk.0.ffn_up_exps.weight.in_sum2", "blk.0.ffn_up_exps.weight.counts"], file.Tensors.Select(tensor => tensor.Name));
            Assert.Equal([2L, 2L], file.Tensors[2].Dimensions);
            Assert.Equal([1L, 2L], file.Tensors[3].Dimensions);
        }

        ImportanceMatrix again = ImportanceMatrix.Open(folder.File("m.gguf"));
        Assert.Equal(["x.txt", "y.txt"], again.Datasets);
        Assert.True(again.TryFind("blk.0.ffn_up_exps.weight", out ImportanceEntry? entry));
        Assert.Equal([1f, 2, 3, 4], entry.SquareSums.ToArray());
        Assert.Equal([7f, 0], entry.Counts.ToArray());
    }

    [Fact]
    public void The_legacy_format_gives_the_mean_times_calls_divided_by_calls()
    {
        using TempFolder folder = new();
        string path = folder.Write("m.dat", Legacy(("blk.0.attn_q.weight", 4, [8f, 2f]), ("output.weight", 0, [3f])));
        ImportanceMatrix matrix = ImportanceMatrix.Open(path);
        Assert.Equal(12, matrix.ChunkCount);
        Assert.Equal(0, matrix.ChunkTokens);
        Assert.Equal("text.txt", Assert.Single(matrix.Datasets));
        Assert.True(matrix.TryFind("blk.0.attn_q.weight", out ImportanceEntry? entry));
        Assert.Equal([2f, 0.5f], entry.Means());
        Assert.True(matrix.TryFind("output.weight", out entry));
        Assert.Equal([3f], entry.Means());
    }

    [Fact]
    public void The_end_of_a_legacy_file_may_be_missing_as_older_files_have_none()
    {
        using TempFolder folder = new();
        byte[] bytes = Legacy(("w", 1, [8f]));
        Assert.Empty(ImportanceMatrix.Open(folder.Write("m.dat", bytes.AsSpan(0, bytes.Length - (4 + 4 + 8)))).Datasets);
        Assert.Equal(12, ImportanceMatrix.Open(folder.Write("n.dat", bytes.AsSpan(0, bytes.Length - (4 + 8)))).ChunkCount);
    }

    [Fact]
    public void A_legacy_file_cut_anywhere_else_is_refused()
    {
        using TempFolder folder = new();
        byte[] bytes = Legacy(("w", 1, [8f, 1]), ("v", 1, [2f]));
        HashSet<int> whole = [bytes.Length - (4 + 4 + 8), bytes.Length - (4 + 8), bytes.Length];
        for (int length = 0; length < bytes.Length; length++)
        {
            string path = folder.Write("m.dat", bytes.AsSpan(0, length));
            if (whole.Contains(length)) ImportanceMatrix.Open(path);
            else Assert.Throws<ImportanceException>(() => ImportanceMatrix.Open(path));
        }

        Assert.Throws<ImportanceException>(() => ImportanceMatrix.Open(folder.Write("m.dat", [.. bytes, 0])));
    }

    [Fact]
    public void Changed_bytes_of_a_legacy_file_are_read_or_refused_and_never_more()
    {
        using TempFolder folder = new();
        byte[] bytes = Legacy(("w", 1, [8f, 1]), ("v", 1, [2f]));
        int refused = 0;
        for (int i = 0; i < bytes.Length; i++)
        {
            foreach (byte value in (ReadOnlySpan<byte>)[0x00, 0x7F, 0x80, 0xFF])
            {
                byte[] changed = [.. bytes];
                changed[i] = value;
                try
                {
                    ImportanceMatrix.Open(folder.Write("m.dat", changed));
                }
                catch (ImportanceException)
                {
                    refused++;
                }
            }
        }

        Assert.InRange(refused, 50, (bytes.Length * 4) - 1);
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(-1f)]
    [InlineData(float.PositiveInfinity)]
    public void Numbers_that_no_sum_of_squares_can_be_are_refused_with_their_name(float value)
    {
        using TempFolder folder = new();
        string message = Assert.Throws<ImportanceException>(() => ImportanceMatrix.Open(folder.Write("m.dat", Legacy(("w", 1, [1f, value]))))).Message;
        Assert.Contains("m.dat", message, StringComparison.Ordinal);
        Assert.Contains("'w'", message, StringComparison.Ordinal);
        Assert.DoesNotContain("Parameter", message, StringComparison.Ordinal);
        Gguf(folder, ("w.in_sum2", [4], [1, value, 1, 1]), ("w.counts", [1], [1]));
        Assert.Contains("'w'", Assert.Throws<ImportanceException>(() => ImportanceMatrix.Open(folder.File("m.gguf"))).Message, StringComparison.Ordinal);
        Gguf(folder, ("w.in_sum2", [4], [1, 1, 1, 1]), ("w.counts", [1], [value]));
        Assert.Contains("count", Assert.Throws<ImportanceException>(() => ImportanceMatrix.Open(folder.File("m.gguf"))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_sum_or_count_that_stands_alone_or_does_not_fit_is_refused()
    {
        using TempFolder folder = new();
        Gguf(folder, ("w.in_sum2", [4], [1, 1, 1, 1]));
        Assert.Contains("w.counts", Assert.Throws<ImportanceException>(() => ImportanceMatrix.Open(folder.File("m.gguf"))).Message, StringComparison.Ordinal);
        Gguf(folder, ("w.counts", [1], [1]));
        Assert.Contains("w.in_sum2", Assert.Throws<ImportanceException>(() => ImportanceMatrix.Open(folder.File("m.gguf"))).Message, StringComparison.Ordinal);
        Gguf(folder, ("w.in_sum2", [4], [1, 1, 1, 1]), ("w.counts", [1, 3], [1, 1, 1]));
        Assert.Contains("4 sums and 3 counts", Assert.Throws<ImportanceException>(() => ImportanceMatrix.Open(folder.File("m.gguf"))).Message, StringComparison.Ordinal);
        Assert.Contains("no importance matrix", Assert.Throws<ImportanceException>(() => ImportanceMatrix.Open(Fixtures.Golden("architectures", "llama-dense.gguf"))).Message, StringComparison.Ordinal);
    }

    private static void Gguf(TempFolder folder, params (string Name, long[] Dimensions, float[] Values)[] tensors)
    {
        GgufWriter writer = new();
        foreach ((string name, long[] dimensions, float[] values) in tensors)
            writer.AddTensor(name, BlockFormats.F32, dimensions, values.SelectMany(BitConverter.GetBytes).ToArray());
        writer.Write(folder.File("m.gguf"));
    }

    private static byte[] Legacy(params (string Name, int Calls, float[] Values)[] entries)
    {
        using MemoryStream stream = new();
        using BinaryWriter writer = new(stream);
        writer.Write(entries.Length);
        foreach ((string name, int calls, float[] values) in entries)
        {
            writer.Write(name.Length);
            writer.Write(Encoding.UTF8.GetBytes(name));
            writer.Write(calls);
            writer.Write(values.Length);
            foreach (float value in values)
                writer.Write(value);
        }

        writer.Write(12);
        writer.Write("text.txt".Length);
        writer.Write("text.txt"u8);
        writer.Flush();
        return stream.ToArray();
    }

    private sealed class Source(string name, int columns, int matrices) : IWeightSource
    {
        public string Name => name;

        public BlockFormat Format => BlockFormats.F32;

        public int Columns => columns;

        public int Rows => 1;

        public int Matrices => matrices;

        public ReadOnlySpan<byte> Row(long row) => throw new NotSupportedException();
    }
}
