using System.Buffers.Binary;
using Nibble.Core.Compute;
using Nibble.Core.Formats;

namespace Nibble.Cpu.Tests;

/// <summary>Weights of random codes and sensible scales, whose last byte is followed by a protected page.</summary>
internal sealed class TestWeights : IWeightSource, IDisposable
{
    // Where the half-precision scales of a block lie.
    private static readonly Dictionary<string, int[]> s_scales = new()
    {
        ["Q4_0"] = [0],
        ["Q4_1"] = [0, 2],
        ["Q5_0"] = [0],
        ["Q5_1"] = [0, 2],
        ["Q8_0"] = [0],
        ["Q2_K"] = [80, 82],
        ["Q3_K"] = [108],
        ["Q4_K"] = [0, 2],
        ["Q5_K"] = [0, 2],
        ["Q6_K"] = [208],
        ["IQ4_NL"] = [0],
        ["IQ4_XS"] = [0],
        ["TQ1_0"] = [52],
        ["TQ2_0"] = [64],
        ["MXFP4"] = [],
        ["NVFP4"] = [],
    };

    private readonly GuardedMemory<byte> _memory;
    private readonly int _rowBytes;

    public TestWeights(BlockFormat format, int rows, int columns, int seed, int matrices = 1)
    {
        Format = format;
        (Rows, Columns, Matrices) = (rows, columns, matrices);
        _rowBytes = (int)format.RowBytes(columns);
        _memory = new GuardedMemory<byte>(rows * matrices * _rowBytes);
        Random random = new(seed);
        if (format.BlockValues == 1)
        {
            format.Encode(Values.Random(random, rows * matrices * columns), _memory.Span);
            return;
        }

        random.NextBytes(_memory.Span);
        for (int start = 0; start < _memory.Length; start += format.BlockBytes)
        {
            Span<byte> block = _memory.Span.Slice(start, format.BlockBytes);
            foreach (int offset in s_scales[format.Name])
                BinaryPrimitives.WriteHalfLittleEndian(block[offset..], (Half)((random.NextSingle() - 0.5f) * 0.02f));
            if (format.Name == "MXFP4") block[0] = (byte)random.Next(118, 126);
            if (format.Name == "NVFP4")
                for (int i = 0; i < 4; i++) block[i] = (byte)random.Next(0x08, 0x38);
        }
    }

    public string Name => $"test {Format} [{Columns} x {Rows} x {Matrices}]";

    public BlockFormat Format { get; }

    public int Columns { get; }

    public int Rows { get; }

    public int Matrices { get; }

    public Span<byte> Bytes => _memory.Span;

    public ReadOnlySpan<byte> Row(long row)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(row, (long)Rows * Matrices);
        return _memory.Span.Slice((int)row * _rowBytes, _rowBytes);
    }

    public float[] Decode(int row)
    {
        float[] values = new float[Columns];
        Format.Decode(Row(row), values);
        return values;
    }

    public void Dispose() => _memory.Dispose();
}

/// <summary>Random values and tensors of them.</summary>
internal static class Values
{
    public static float[] Random(Random random, int count)
    {
        float[] values = new float[count];
        foreach (ref float value in values.AsSpan())
            value = (random.NextSingle() + random.NextSingle() + random.NextSingle() - 1.5f) * 2;
        return values;
    }

    /// <summary>A tensor in a wider buffer: its rows are <paramref name="gap"/> values further apart than they are long, and start after 3 values.</summary>
    public static Tensor Tensor(Backend backend, int rows, int columns, int gap = 0, float[]? values = null, ElementType type = ElementType.Float32)
    {
        Tensor whole = backend.Allocate(type, 1, (rows * (columns + gap)) + 3 + gap);
        Tensor tensor = new(whole.Buffer, 3, rows, columns, columns + gap);
        if (values is not null) backend.Write(values, tensor);
        return tensor;
    }

    public static float[] Read(Backend backend, Tensor tensor)
    {
        float[] values = new float[tensor.Rows * tensor.Columns];
        backend.Read(tensor, values);
        return values;
    }

    public static bool SameBits(ReadOnlySpan<float> a, ReadOnlySpan<float> b) =>
        System.Runtime.InteropServices.MemoryMarshal.AsBytes(a).SequenceEqual(System.Runtime.InteropServices.MemoryMarshal.AsBytes(b));
}

/// <summary>Lists for theories.</summary>
public static class Cases
{
    /// <summary>The paths that run here; in a process that tests the lack of an instruction set, the best one left.</summary>
    public static IEnumerable<string> PathNames =>
        Environment.GetEnvironmentVariable(BestPathTests.ExpectedVariable) is { } one ? [one] : CpuPaths.All.Where(p => p.IsSupported).Select(p => p.Name);

    public static TheoryData<string> Paths => [.. PathNames];

    public static TheoryData<string> Formats => [.. BlockFormats.All.Select(f => f.Name)];

    /// <summary>The formats that the integer kernels serve: all but F32, F16 and BF16.</summary>
    public static TheoryData<string> CodeFormats => [.. BlockFormats.All.Where(f => f.BlockValues > 1).Select(f => f.Name)];

    public static TheoryData<string, string> PathsAndFormats => PathsAnd(_ => true);

    public static TheoryData<string, string> PathsAndCodeFormats => PathsAnd(format => format.BlockValues > 1 && format != BlockFormats.NVFP4);

    private static TheoryData<string, string> PathsAnd(Func<BlockFormat, bool> choose)
    {
        TheoryData<string, string> data = [];
        foreach (string path in PathNames)
            foreach (BlockFormat format in BlockFormats.All.Where(choose))
                data.Add(path, format.Name);
        return data;
    }
}
