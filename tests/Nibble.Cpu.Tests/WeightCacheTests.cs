using System.Buffers.Binary;
using System.Text;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Core.Memory;
using Nibble.Cpu.Caching;
using Nibble.Cpu.Packed;

namespace Nibble.Cpu.Tests;

/// <summary>Packed weights that are kept in a file beside the model.</summary>
public sealed class WeightCacheTests : IDisposable
{
    private const int Tokens = 3;

    private static readonly (string Name, string Format, int Columns, int Rows, int Matrices)[] s_tensors =
    [
        ("small", "Q4_0", 64, 37, 1), ("large", "Q4_K", 512, 300, 1), ("experts", "Q5_1", 96, 20, 3), ("halves", "F16", 128, 50, 1), ("wide", "Q8_0", 64, 40, 1), ("plain", "F32", 32, 8, 1), ("vector", "F32", 64, 1, 1),
    ];

    private readonly TempFolder _folder = new();

    private string Model => _folder.File("model.gguf");

    private string Packed => Model + ".packed";

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("", 0, 0xEF46DB3751D8E999)]
    [InlineData("a", 0, 0xD24EC4F1A98C6E5B)]
    [InlineData("abc", 0, 0x44BC2CF5AD770999)]
    [InlineData("Nobody inspects the spammish repetition", 0, 0xFBCEA83C8A378BF1)]
    [InlineData("xxhash", 20141025, 0xB559B98D844E0635)]
    public void Xxh64_has_the_published_values(string text, ulong seed, ulong expected) => Assert.Equal(expected, Xxh64.Hash(Encoding.ASCII.GetBytes(text), seed));

    [Fact]
    public void The_first_load_writes_the_file_and_every_path_then_takes_the_same_weights_from_it()
    {
        Write();
        (float[] expected, WeightCacheReport? none) = Load(caches: false);
        Assert.Null(none);
        Assert.False(File.Exists(Packed));
        (float[] first, WeightCacheReport? written) = Load(path: "vector128");
        Assert.Equal((0, new FileInfo(Packed).Length, null), (written!.MappedBytes, written.WrittenBytes, written.Problem));
        Assert.Equal(Packed, written.Path);
        Same(Load(path: "vector128", caches: false).Products, first);
        byte[] file = File.ReadAllBytes(Packed);
        foreach (string path in Cases.PathNames)
        {
            (float[] products, WeightCacheReport? used) = Load(path);
            Same(Load(path, caches: false).Products, products);
            Assert.True(used!.MappedBytes > 0);
            Assert.Equal((0, null), (used.WrittenBytes, used.Problem));
        }

        (float[] fastest, WeightCacheReport? last) = Load();
        Same(expected, fastest);
        Assert.Null(last!.Problem);
        Assert.Equal(file, File.ReadAllBytes(Packed));
        Assert.Equal(["experts", "halves", "large", "small", "wide"], Entries().Select(entry => entry.Name).Order(StringComparer.Ordinal));
        Assert.Equal(Entries().Sum(entry => entry.Length), last.MappedBytes);
    }

    [Fact]
    public void A_weight_without_a_packed_order_is_remembered_as_such()
    {
        Write(bytes => bytes["wide"][1] = 0x7C);
        float[] expected = Load(caches: false).Products;
        Assert.Contains(expected, value => !float.IsFinite(value));
        Same(expected, Load().Products);
        Assert.Equal(0, Entries().Single(entry => entry.Name == "wide").Length);
        (float[] products, WeightCacheReport? used) = Load();
        Same(expected, products);
        Assert.Equal((0, null), (used!.WrittenBytes, used.Problem));
    }

    [Fact]
    public void What_the_file_has_takes_no_memory_of_the_device()
    {
        Write();
        Load();
        using CpuBackend backend = new(new CpuOptions { CacheWeights = true });
        using GgufFile file = GgufFile.Open(Model);
        long before = file.Tensors.Sum(backend.UploadBytes);
        backend.BeginLoad(file);
        long during = file.Tensors.Sum(backend.UploadBytes);
        backend.EndLoad(isWhole: false);
        Assert.Equal(Entries().Sum(entry => entry.Length), before - during);
    }

    [Theory]
    [InlineData("small", 0)]
    [InlineData("large", 40000)]
    [InlineData("experts", -1)]
    public void A_model_that_was_edited_is_packed_anew(string tensor, int at)
    {
        Write();
        Load();
        Write(bytes => bytes[tensor][at < 0 ? ^1 : at] ^= 1, hoursOld: 1);
        (float[] products, WeightCacheReport? report) = Load();
        Same(Load(caches: false).Products, products);
        Assert.Contains($"the model's '{tensor}' has changed since it was written", report!.Problem, StringComparison.Ordinal);
        Assert.Contains("It was written anew", report.Problem, StringComparison.Ordinal);
        Assert.True(report.WrittenBytes > 0 && report.MappedBytes > 0, "what did not change is still mapped");
        (products, report) = Load();
        Same(Load(caches: false).Products, products);
        Assert.Equal((0, null), (report!.WrittenBytes, report.Problem));
    }

    [Fact]
    public void A_model_with_another_tensor_is_packed_anew()
    {
        Write();
        Load();
        Write(reshape: true, hoursOld: 1);
        (float[] products, WeightCacheReport? report) = Load();
        Same(Load(caches: false).Products, products);
        Assert.Contains("it has no 'small' of this format and shape", report!.Problem, StringComparison.Ordinal);
        Assert.Null(Load().Report!.Problem);
    }

    [Fact]
    public void A_model_of_another_date_is_compared_in_full_once()
    {
        Write();
        Load();
        ulong before = Stamp();
        File.SetLastWriteTimeUtc(Model, DateTime.UtcNow.AddMinutes(-5));
        (float[] products, WeightCacheReport? report) = Load();
        Same(Load(caches: false).Products, products);
        Assert.True(report!.MappedBytes > 0);
        Assert.Equal((0, null), (report.WrittenBytes, report.Problem));
        using GgufFile file = GgufFile.Open(Model);
        Assert.NotEqual(before, Stamp());
        Assert.Equal(PackedFile.StampOf(file, out _), Stamp());
    }

    [Fact]
    public void A_date_that_the_next_write_may_repeat_is_not_trusted()
    {
        Write(hoursOld: 0);
        Load();
        Assert.Equal(0ul, Stamp());
        Write(bytes => bytes["large"][40000] ^= 1, hoursOld: 0);
        (float[] products, WeightCacheReport? report) = Load();
        Same(Load(caches: false).Products, products);
        Assert.Contains("'large' has changed", report!.Problem, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_of_another_length_is_found_out()
    {
        Write();
        float[] expected = Load().Products;
        byte[] whole = File.ReadAllBytes(Packed);
        foreach (int length in (int[])[0, 1, 4095, 4096, whole.Length / 2, whole.Length - 1, whole.Length + 1])
        {
            byte[] other = new byte[length];
            whole.AsSpan(0, Math.Min(length, whole.Length)).CopyTo(other);
            Damaged(other, expected, length < 4096 ? $"it has {length} bytes, too few for a header" : $"it has {length:N0} bytes of {whole.Length:N0}");
        }

        Assert.Equal(whole, File.ReadAllBytes(Packed));
    }

    [Fact]
    public void A_flipped_bit_is_found_out_wherever_it_is()
    {
        Write();
        float[] expected = Load().Products;
        byte[] whole = File.ReadAllBytes(Packed);
        PackedEntry[] entries = Entries();
        long table = entries.Max(entry => entry.Offset + entry.Length);
        List<(long At, string Problem)> places = [.. Enumerable.Range(0, 8).Select(at => ((long)at, "it is no file of packed weights")), (8, "layout version")];
        places.AddRange(Enumerable.Range(12, 52).Concat([64, 2000, 4087, 4088, 4095]).Select(at => ((long)at, "its header is damaged")));
        places.AddRange(entries.SelectMany(entry => new[] { entry.Offset, entry.Offset + (entry.Length / 2), entry.Offset + entry.Length - 1 }.Select(at => (at, $"its '{entry.Name}' is damaged"))));
        for (long at = (table + 4095) / 4096 * 4096; at < whole.Length; at += 7)
            places.Add((at, "its table is damaged"));
        foreach ((long at, string problem) in places)
        {
            byte[] flipped = [.. whole];
            flipped[at] ^= 0x10;
            Damaged(flipped, expected, problem);
            Assert.Equal(whole, File.ReadAllBytes(Packed));
        }
    }

    [Fact]
    public void A_file_of_another_version_or_kind_is_written_anew()
    {
        Write();
        float[] expected = Load().Products;
        byte[] whole = File.ReadAllBytes(Packed);
        BinaryPrimitives.WriteInt32LittleEndian(whole.AsSpan(8), PackedFile.LayoutVersion + 1);
        BinaryPrimitives.WriteUInt64LittleEndian(whole.AsSpan(4088), Xxh64.Hash(whole.AsSpan(0, 4088)));
        Damaged(whole, expected, $"it is of layout version {PackedFile.LayoutVersion + 1}, not {PackedFile.LayoutVersion}");
        Damaged(File.ReadAllBytes(Model), expected, "it is no file of packed weights");
    }

    [Fact]
    public void A_table_that_points_outside_is_refused()
    {
        Write();
        float[] expected = Load().Products;
        PackedEntry first = Entries()[0];
        foreach (PackedEntry bad in (PackedEntry[])[first with { Offset = 0 }, first with { Offset = 4097 }, first with { Offset = 1L << 60 }, first with { Length = -1 }, first with { Length = long.MaxValue }, first with { Offset = -4096 }])
        {
            byte[] table = PackedFile.Table([bad]);
            Damaged([.. PackedFile.Header(1, 1, 8192, table), .. new byte[4096], .. table], expected, "its table is damaged");
        }

        byte[] one = PackedFile.Table([first with { Offset = 4096, Length = 64 }]);
        Damaged([.. PackedFile.Header(1, 2, 8192, one), .. new byte[4096], .. one], expected, "its table is damaged");
        Damaged([.. PackedFile.Header(1, 1, 8192, one), .. new byte[4096], .. one], expected, "is damaged");
    }

    [Fact]
    public void What_cannot_be_written_is_told_and_the_model_runs_from_memory()
    {
        // A folder of that name is in the way, for who may write anywhere, too.
        Write();
        Directory.CreateDirectory(Packed);
        (float[] products, WeightCacheReport? report) = Load();
        Same(Load(caches: false).Products, products);
        Assert.Contains("'model.gguf.packed' cannot be written", report!.Problem, StringComparison.Ordinal);
        Assert.Contains("packed in memory", report.Problem, StringComparison.Ordinal);
        Assert.Equal((0, 0), (report.MappedBytes, report.WrittenBytes));
        Assert.Equal([Model], Directory.GetFiles(_folder.Root));
    }

    [Fact]
    public void A_folder_that_may_not_be_written_to_is_told()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "folders are closed otherwise on Windows.");
        if (OperatingSystem.IsWindows()) return;
        Write();
        File.SetUnixFileMode(_folder.Root, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        try
        {
            Assert.SkipWhen(CanWrite(), "this user may write anywhere.");
            (float[] products, WeightCacheReport? report) = Load();
            Same(Load(caches: false).Products, products);
            Assert.Contains("'model.gguf.packed' cannot be written", report!.Problem, StringComparison.Ordinal);
        }
        finally
        {
            File.SetUnixFileMode(_folder.Root, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }
    }

    [Fact]
    public async Task Several_may_write_at_once()
    {
        Write();
        float[] expected = Load(caches: false).Products;
        for (int round = 0; round < 5; round++)
        {
            File.Delete(Packed);
            (float[] Products, WeightCacheReport? Report)[] loads = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(() => Load())));
            Assert.All(loads, load => Same(expected, load.Products));
            Assert.All(loads, load => Assert.Null(load.Report!.Problem));
            Assert.Equal([Model, Packed], Directory.GetFiles(_folder.Root).Order(StringComparer.Ordinal));
            (float[] products, WeightCacheReport? report) = Load();
            Same(expected, products);
            Assert.Equal((0, null), (report!.WrittenBytes, report.Problem));
        }
    }

    [Fact]
    public void What_a_dead_writer_left_is_deleted_but_not_what_a_living_one_holds()
    {
        Write();
        string dead = _folder.Write("model.gguf.packed.0123.tmp", new byte[9]), other = _folder.Write("other.gguf.packed.0123.tmp", new byte[9]);
        string closed = _folder.Write("model.gguf.packed.89AB.tmp", new byte[9]);
        using FileStream living = new(_folder.File("model.gguf.packed.4567.tmp"), FileMode.CreateNew, FileAccess.Write, FileShare.None);
        foreach (string old in (string[])[dead, other, living.Name])
            File.SetLastWriteTimeUtc(old, DateTime.UtcNow.AddMinutes(-11));
        Assert.Null(Load().Report!.Problem);
        Assert.False(File.Exists(dead));
        Assert.True(File.Exists(closed), "its writer may be about to rename it");
        Assert.True(File.Exists(other));
        Assert.True(File.Exists(living.Name));
    }

    [Fact]
    public unsafe void Weights_keep_the_mapping_when_the_file_is_replaced()
    {
        Write();
        float[] expected = Load().Products;
        using CpuBackend backend = new(new CpuOptions { CacheWeights = true });
        using GgufFile file = GgufFile.Open(Model);
        Weight[] weights = Take(backend, file, out WeightCacheReport? report);
        Assert.True(report!.MappedBytes > 0);
        if (!OperatingSystem.IsWindows()) File.Delete(Packed);
        Same(expected, Products(backend, weights));
        PackedMatrix packed = CpuWeight.Of(weights[0]).Packed!;
        foreach (Weight weight in weights)
            weight.Dispose();
        Assert.Throws<ObjectDisposedException>(() => (nint)packed.Matrix(0));
    }

    [Fact]
    public void A_load_that_fails_keeps_nothing()
    {
        Write();
        using (CpuBackend backend = new(new CpuOptions { CacheWeights = true }))
        {
            using GgufFile file = GgufFile.Open(Model);
            backend.BeginLoad(file);
            using Weight weight = backend.Upload(file.Find("small")!);
            backend.Prepare(weight);
            Assert.Null(backend.EndLoad(isWhole: false));
        }

        Assert.False(File.Exists(Packed));
    }

    [Fact]
    public void Where_nothing_is_packed_nothing_is_kept()
    {
        new GgufWriter().AddTensor("plain", BlockFormats.F32, [32, 8], Bytes("F32", 32, 8, 1)).Write(Model);
        using CpuBackend backend = new(new CpuOptions { CacheWeights = true });
        using GgufFile file = GgufFile.Open(Model);
        backend.BeginLoad(file);
        using Weight weight = backend.Upload(file.Find("plain")!);
        backend.Prepare(weight);
        Assert.Contains("no weight of this model is packed", backend.EndLoad(isWhole: true)!.Problem, StringComparison.Ordinal);
        Assert.False(File.Exists(Packed));
        ArgumentException error = Assert.Throws<ArgumentException>(() => new CpuBackend(new CpuOptions { CacheWeights = true, Exact = true }));
        Assert.Contains("leave out --cache-weights", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_status_tells_what_a_load_would_find()
    {
        Write();
        Assert.Null(Status());
        Load();
        Assert.Equal((Packed, new FileInfo(Packed).Length, null), (Status()!.Path, Status()!.Bytes, Status()!.Problem));
        Write(bytes => bytes["halves"][0] ^= 1);
        Assert.Contains("'halves' has changed", Status()!.Problem, StringComparison.Ordinal);
        Write(reshape: true);
        Assert.Contains("no 'small' of its format and shape", Status()!.Problem, StringComparison.Ordinal);
        File.WriteAllText(Packed, "hello");
        Assert.Contains("too few for a header", Status()!.Problem, StringComparison.Ordinal);
        Assert.Equal(5, Status()!.Bytes);
    }

    private WeightCacheStatus? Status()
    {
        using GgufFile file = GgufFile.Open(Model);
        return WeightCacheStatus.Of(file);
    }

    private void Damaged(byte[] file, float[] expected, string problem)
    {
        File.WriteAllBytes(Packed, file);
        (float[] products, WeightCacheReport? report) = Load();
        Same(expected, products);
        Assert.Contains(problem, report!.Problem, StringComparison.Ordinal);
        Assert.Contains("It was written anew", report.Problem, StringComparison.Ordinal);
    }

    private bool CanWrite()
    {
        try
        {
            File.WriteAllText(_folder.File("try"), "");
            File.Delete(_folder.File("try"));
            return true;
        }
        catch (UnauthorizedAccessException)
        {
            return false;
        }
    }

    private static void Same(float[] expected, float[] actual) => Assert.True(Values.SameBits(expected, actual), "products differ");

    private PackedEntry[] Entries()
    {
        PackedFile packed = PackedFile.Open(Packed, out string? problem)!;
        Assert.Null(problem);
        PackedEntry[] entries = [.. packed.Entries];
        packed.Release();
        return entries;
    }

    private ulong Stamp()
    {
        PackedFile packed = PackedFile.Open(Packed, out _)!;
        packed.Release();
        return packed.Stamp;
    }

    private static byte[] Bytes(string format, int columns, int rows, int matrices)
    {
        using TestWeights weights = new(BlockFormats.Find(format)!, rows, columns, 9, matrices);
        return weights.Bytes.ToArray();
    }

    private void Write(Action<Dictionary<string, byte[]>>? edit = null, bool reshape = false, double hoursOld = 24)
    {
        Dictionary<string, byte[]> bytes = s_tensors.ToDictionary(tensor => tensor.Name, tensor => Bytes(tensor.Format, tensor.Columns, tensor.Rows, tensor.Matrices));
        edit?.Invoke(bytes);
        GgufWriter writer = new();
        foreach ((string name, string format, int columns, int rows, int matrices) in s_tensors)
        {
            if (reshape && name == "small") writer.AddTensor(name, BlockFormats.Q5_0, [columns, rows + 3], Bytes("Q5_0", columns, rows + 3, 1));
            else writer.AddTensor(name, BlockFormats.Find(format)!, matrices > 1 ? [columns, rows, matrices] : [columns, rows], bytes[name]);
        }

        writer.Write(Model);
        if (hoursOld > 0) File.SetLastWriteTimeUtc(Model, DateTime.UtcNow.AddHours(-hoursOld));
    }

    private (float[] Products, WeightCacheReport? Report) Load(string? path = null, bool caches = true)
    {
        using CpuBackend backend = new(new CpuOptions { Path = path, CacheWeights = caches, Threads = 2 });
        using GgufFile file = GgufFile.Open(Model);
        Weight[] weights = Take(backend, file, out WeightCacheReport? report);
        float[] products = Products(backend, weights);
        foreach (Weight weight in weights)
            weight.Dispose();
        return (products, report);
    }

    private static Weight[] Take(CpuBackend backend, GgufFile file, out WeightCacheReport? report)
    {
        backend.BeginLoad(file);
        List<Weight> weights = [];
        foreach (GgufTensor tensor in file.Tensors)
        {
            Weight weight = backend.Upload(tensor);
            if (tensor.Rows > 1) backend.Prepare(weight);
            weights.Add(weight);
        }

        report = backend.EndLoad(isWhole: true);
        return [.. weights];
    }

    // Of each matrix with a few tokens, one after another.
    private static float[] Products(CpuBackend backend, Weight[] weights)
    {
        List<float> all = [];
        foreach (Weight weight in weights.Where(weight => weight.Rows > 1))
        {
            Tensor x = Values.Tensor(backend, Tokens, weight.Columns, values: Values.Random(new Random(4), Tokens * weight.Columns));
            if (weight.Matrices == 1)
            {
                Tensor y = Values.Tensor(backend, Tokens, weight.Rows);
                backend.MatMul(x, weight, y);
                all.AddRange(Values.Read(backend, y));
                continue;
            }

            Tensor outputs = Values.Tensor(backend, Tokens, weight.Rows), ids = backend.Allocate(ElementType.Int32, Tokens, 1);
            backend.Write((ReadOnlySpan<int>)[2, 0, 1], ids);
            backend.MatMulExperts(x, weight, ids, outputs);
            all.AddRange(Values.Read(backend, outputs));
        }

        return [.. all];
    }
}
