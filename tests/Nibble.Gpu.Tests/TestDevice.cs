using System.Runtime.InteropServices;
using Nibble.Core.Compute;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;
using Nibble.Gpu.Drivers;
using Nibble.Gpu.Drivers.OpenCL;

namespace Nibble.Gpu.Tests;

/// <summary>The first OpenCL device, and what tests compute on it.</summary>
internal static class TestDevice
{
    /// <summary>Opens the device; where there is none, the test is skipped with the reason, or fails (<see cref="Installed"/>).</summary>
    public static GpuDevice Open(ProgramCache? cache = null, long bufferLimit = 0)
    {
        List<OpenClDevices.Entry> entries = OpenClDevices.All(out string? problem);
        Installed.OpenCl(entries.Count > 0, $"there is no OpenCL device: {problem}");
        return new OpenClDevice(entries[0], cache, bufferLimit);
    }

    /// <summary>A backend on the device, by default an exact one.</summary>
    public static GpuBackend Backend(GpuOptions? options = null)
    {
        options ??= new GpuOptions { IsExact = true };
        return new GpuBackend(Open(options.CachePrograms ? ProgramCache.Default() : null, options.MaxBufferBytes), options);
    }

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

    public static Tensor Ids(Backend backend, int rows, int columns, params int[] ids)
    {
        Tensor tensor = Tensor(backend, rows, columns, 1, null, ElementType.Int32);
        backend.Write(ids, tensor);
        return tensor;
    }

    public static float[] Read(Backend backend, Tensor tensor)
    {
        float[] values = new float[tensor.Rows * tensor.Columns];
        backend.Read(tensor, values);
        return values;
    }

    public static int[] ReadIds(Backend backend, Tensor tensor)
    {
        int[] values = new int[tensor.Rows * tensor.Columns];
        backend.Read(tensor, values);
        return values;
    }
}

/// <summary>Random weights of one format, of one or several matrices.</summary>
internal sealed class TestWeights : IWeightSource
{
    private readonly byte[] _bytes;
    private readonly int _rowBytes;

    public TestWeights(BlockFormat format, int rows, int columns, int seed, int matrices = 1)
    {
        (Format, Rows, Columns, Matrices) = (format, rows, columns, matrices);
        _rowBytes = (int)format.RowBytes(columns);
        _bytes = new byte[rows * matrices * _rowBytes];
        for (int row = 0; row < rows * matrices; row++)
            RandomBlocks.Fill(format, _bytes.AsSpan(row * _rowBytes, _rowBytes), 1 / Math.Sqrt(columns), ((ulong)seed << 32) + (ulong)row);
    }

    public string Name => $"test {Format} [{Columns} x {Rows} x {Matrices}]";

    public BlockFormat Format { get; }

    public int Columns { get; }

    public int Rows { get; }

    public int Matrices { get; }

    public float InputScale { get; init; }

    public ReadOnlySpan<byte> Row(long row) => _bytes.AsSpan((int)row * _rowBytes, _rowBytes);
}
