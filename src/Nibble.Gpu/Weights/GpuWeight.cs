using System.Runtime.InteropServices;
using Nibble.Core.Compute;
using Nibble.Core.Memory;
using Nibble.Gpu.Drivers;

namespace Nibble.Gpu.Weights;

/// <summary>Rows of every matrix of a weight in one buffer, which is no larger than the device allows.</summary>
/// <param name="Memory">[matrices] planes.</param>
/// <param name="FirstRow">The first row.</param>
/// <param name="Rows">Rows of each matrix.</param>
/// <param name="MatrixBytes">Bytes from a matrix to the next.</param>
/// <param name="TileBytes">Bytes from a tile to the next.</param>
/// <param name="Starts">Where planes start in a tile.</param>
internal sealed record WeightPart(GpuBuffer Memory, int FirstRow, int Rows, long MatrixBytes, long TileBytes, long[] Starts);

/// <summary>A weight in the memory of a device: as planes when products need it, decoded to float32 when it is used as a vector.</summary>
internal sealed unsafe class GpuWeight : Weight
{
    private readonly GpuDevice _device;
    private readonly float[] _scales;
    private GpuBuffer? _vector;
    private bool _disposed;

    public GpuWeight(GpuDevice device, IWeightSource source, ReadOnlySpan<float> scales)
        : base(source)
    {
        Shapes.CheckUpload(source, scales);
        _device = device;
        Source = source;
        _scales = scales.ToArray();
        if (IsVector(source)) _vector = Decoded();
    }

    /// <summary>Where rows come from.</summary>
    public IWeightSource Source { get; }

    /// <summary>The planes' format and table; null before <see cref="Pack"/>.</summary>
    public PlaneReader? Reader { get; private set; }

    /// <summary>The matrices; empty before <see cref="Pack"/>.</summary>
    public WeightPart[] Parts { get; private set; } = [];

    /// <summary>[matrices] what products are multiplied by.</summary>
    public GpuBuffer? Scales { get; private set; }

    /// <summary>[16] what codes stand for.</summary>
    public GpuBuffer? Table { get; private set; }

    /// <summary>[rows x columns] decoded values times the scale, of one matrix.</summary>
    public GpuBuffer Vector
    {
        get
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            return _vector ??= Decoded();
        }
    }

    /// <summary>Whether weights are one row, which is decoded when it is uploaded.</summary>
    public static bool IsVector(IWeightSource source) => source.Rows == 1 && source.Matrices == 1;

    /// <summary>The weight as this class.</summary>
    /// <exception cref="ArgumentException">The weight belongs to another backend.</exception>
    public static GpuWeight Of(Weight weight, GpuDevice device) =>
        weight is GpuWeight own && own._device == device ? own : throw new ArgumentException($"{weight?.Name} was uploaded to another backend.", nameof(weight));

    /// <summary>What the products of a matrix are multiplied by.</summary>
    public float ScaleOf(int matrix) => _scales.Length == 0 ? 1f : _scales[matrix];

    /// <summary>Bytes of the device's memory that <see cref="Pack"/> takes.</summary>
    public static long PackedBytes(IWeightSource source) =>
        (PlaneReader.Of(source).Planes.MatrixBytes(source.Rows, source.Columns) * source.Matrices) + 64 + ((source.Matrices * 4L + 15) & -16);

    /// <summary>Puts the matrices into the device's memory, once.</summary>
    /// <exception cref="InsufficientMemoryException">The device has not enough memory.</exception>
    public void Pack()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (Parts.Length > 0) return;
        PlaneReader reader = PlaneReader.Of(Source);
        int step = RowsOfPart(reader.Planes);
        List<WeightPart> parts = [];
        try
        {
            for (int first = 0; first < Rows; first += step)
                parts.Add(PackRows(reader, first, Math.Min(step, Rows - first)));
            float[] scales = [.. Enumerable.Range(0, Matrices).Select(ScaleOf)];
            Scales = _device.Allocate(MemoryMarshal.AsBytes<float>(scales), $"the scales of {Name}");
            Table = _device.Allocate(MemoryMarshal.AsBytes<float>(reader.Table), $"the table of {Name}");
        }
        catch
        {
            foreach (WeightPart part in parts)
                part.Memory.Dispose();
            Scales?.Dispose();
            throw;
        }

        Reader = reader;
        Parts = [.. parts];
    }

    protected override void Dispose(bool disposing)
    {
        _disposed = true;
        foreach (WeightPart part in Parts)
            part.Memory.Dispose();
        Scales?.Dispose();
        Table?.Dispose();
        _vector?.Dispose();
    }

    // All rows where they fit into one buffer, else as many times 16 as do.
    private int RowsOfPart(PlaneFormat planes)
    {
        if (planes.MatrixBytes(Rows, Columns) <= _device.MaxBufferBytes / Matrices) return Math.Max(1, Rows);
        int low = 0, high = PlaneFormat.Padded(Rows) / PlaneFormat.TileRows;
        while (high - low > 1)
        {
            int middle = (low + high) / 2;
            if (planes.MatrixBytes(middle * PlaneFormat.TileRows, Columns) <= _device.MaxBufferBytes / Matrices) low = middle;
            else high = middle;
        }

        if (low == 0)
            throw new InsufficientMemoryException($"16 rows of {Name} take {planes.MatrixBytes(PlaneFormat.TileRows, Columns) * Matrices:N0} bytes; device '{_device.Info.Name}' has buffers of {_device.MaxBufferBytes:N0} bytes at most.");
        return low * PlaneFormat.TileRows;
    }

    private WeightPart PackRows(PlaneReader reader, int first, int rows)
    {
        PlaneFormat planes = reader.Planes;
        long[] starts = new long[PlaneFormat.PlaneCount];
        long tileBytes = planes.Starts(Columns, starts), bytes = planes.MatrixBytes(rows, Columns);
        GpuBuffer memory = _device.Allocate(bytes * Matrices, Name);
        try
        {
            using NativeBuffer staging = new(bytes, isZeroed: false);
            if (rows % PlaneFormat.TileRows != 0) staging.Span<byte>(bytes - tileBytes, checked((int)tileBytes)).Clear();
            for (int matrix = 0; matrix < Matrices; matrix++)
            {
                long start = ((long)matrix * Rows) + first;
                Parallel.For(
                    0,
                    PlaneFormat.Padded(rows) / PlaneFormat.TileRows,
                    () => new PlaneRow(planes, Columns),
                    (tile, _, row) =>
                    {
                        for (int r = tile * PlaneFormat.TileRows; r < Math.Min(rows, (tile + 1) * PlaneFormat.TileRows); r++)
                        {
                            reader.Read(Source, start + r, row);
                            row.Scatter(staging.Pointer + (tile * tileBytes), starts, r % PlaneFormat.TileRows);
                        }

                        return row;
                    },
                    _ => { });
                WriteAll(memory, matrix * bytes, staging);
            }
        }
        catch
        {
            memory.Dispose();
            throw;
        }

        return new WeightPart(memory, first, rows, bytes, tileBytes, starts);
    }

    // A span has no more than 2^31 bytes.
    private void WriteAll(GpuBuffer memory, long offset, NativeBuffer staging)
    {
        const int Piece = 1 << 30;
        for (long at = 0; at < staging.Length; at += Piece)
            _device.Write(memory, offset + at, staging.Span<byte>(at, (int)Math.Min(Piece, staging.Length - at)));
    }

    private GpuBuffer Decoded()
    {
        using NativeBuffer values = new((long)Rows * Columns * 4, isZeroed: false);
        for (int r = 0; r < Rows; r++)
        {
            Span<float> row = values.Span<float>((long)r * Columns, Columns);
            Source.CopyRow(r, row);
            foreach (ref float value in row)
                value *= ScaleOf(0);
        }

        GpuBuffer memory = _device.Allocate(values.Length, Name);
        try
        {
            WriteAll(memory, 0, values);
            return memory;
        }
        catch
        {
            memory.Dispose();
            throw;
        }
    }
}
