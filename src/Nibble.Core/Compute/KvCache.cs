using System.Collections.Immutable;
using Nibble.Core.Formats;

namespace Nibble.Core.Compute;

/// <summary>The shape of one layer's part of a KV cache.</summary>
/// <param name="Heads">KV heads.</param>
/// <param name="KeySize">Values in one head's key.</param>
/// <param name="ValueSize">Values in one head's value.</param>
/// <param name="Window">Positions that a token sees, its own included; 0 for all before it. The layer holds no more than the window and a batch.</param>
/// <param name="IsChunked">Whether the window begins at the last multiple of its length instead of moving with the token (Llama 4).</param>
public readonly record struct KvLayer(int Heads, int KeySize, int ValueSize, int Window = 0, bool IsChunked = false)
{
    /// <summary>The first position that a token sees.</summary>
    /// <param name="position">Its position.</param>
    public int FirstVisible(int position) =>
        Window == 0 ? 0 : IsChunked ? position / Window * Window : Math.Max(0, position - Window + 1);

    /// <summary>Positions that such a layer of a cache keeps.</summary>
    /// <param name="capacity">Positions of the cache.</param>
    /// <param name="batch">Tokens that are stored at a time at most.</param>
    public int Rows(int capacity, int batch) => Window == 0 ? capacity : (int)Math.Min(capacity, Window - 1L + batch);
}

/// <summary>Keys and values of one sequence in a backend's memory, a row a position: heads one after the other, each encoded in <see cref="Format"/>.</summary>
/// <remarks>
/// A layer with a window keeps <see cref="Rows"/> positions: position p lies in row p modulo that, and takes the place of an older one.
/// In <see cref="BlockFormats.Q4_0"/> heads are rotated before they are encoded (<see cref="IsRotated"/>).
/// </remarks>
public abstract class KvCache : IDisposable
{
    /// <summary>Describes a cache.</summary>
    /// <param name="layers">Shape of each layer.</param>
    /// <param name="capacity">Positions.</param>
    /// <param name="format">Format of keys and values, one of <see cref="Formats"/>.</param>
    /// <param name="batch">Tokens that are stored at a time at most.</param>
    /// <exception cref="ArgumentOutOfRangeException">A size is not positive.</exception>
    /// <exception cref="ArgumentException">A head is no multiple of the format's block, or the format is another one.</exception>
    protected KvCache(ReadOnlySpan<KvLayer> layers, int capacity, BlockFormat format, int batch)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(capacity);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(batch);
        Bytes(layers, capacity, format, batch);
        Batch = batch;
        Layers = [.. layers];
        Capacity = capacity;
        Format = format;
    }

    /// <summary>The formats that keys and values can be kept in.</summary>
    public static ImmutableArray<BlockFormat> Formats { get; } = [BlockFormats.F32, BlockFormats.F16, BlockFormats.Q8_0, BlockFormats.Q4_0];

    /// <summary>Shape of each layer.</summary>
    public ImmutableArray<KvLayer> Layers { get; }

    /// <summary>Positions that fit.</summary>
    public int Capacity { get; }

    /// <summary>Format of keys and values.</summary>
    public BlockFormat Format { get; }

    /// <summary>
    /// Whether rows hold keys and values after <see cref="WalshHadamard"/>, as in 4 bits they do: <see cref="Backend.StoreKv"/> rotates them, and <see cref="Backend.Attention"/> rotates queries and turns what it
    /// gives back. <see cref="ReadRow"/> and <see cref="WriteRow"/> copy the rows as they are.
    /// </summary>
    public bool IsRotated => ReferenceEquals(Format, BlockFormats.Q4_0);

    /// <summary>Tokens that are stored at a time at most.</summary>
    public int Batch { get; }

    /// <summary>Bytes that keys and values of such a cache take.</summary>
    /// <param name="layers">Shape of each layer.</param>
    /// <param name="capacity">Positions.</param>
    /// <param name="format">Format of keys and values, one of <see cref="Formats"/>.</param>
    /// <param name="batch">Tokens that are stored at a time at most.</param>
    /// <exception cref="ArgumentOutOfRangeException">A size is not positive.</exception>
    /// <exception cref="ArgumentException">A head is no multiple of the format's block, or the format is another one.</exception>
    public static long Bytes(ReadOnlySpan<KvLayer> layers, int capacity, BlockFormat format, int batch)
    {
        ArgumentNullException.ThrowIfNull(format);
        if (!Formats.Contains(format))
            throw new ArgumentException($"a KV cache cannot be kept in {format.Name}; use {string.Join(", ", Formats)}.", nameof(format));
        long bytes = 0;
        foreach (KvLayer layer in layers)
        {
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(layer.Heads, nameof(layers));
            ArgumentOutOfRangeException.ThrowIfNegative(layer.Window, nameof(layers));
            bytes += layer.Rows(capacity, batch) * layer.Heads * (HeadBytes(layer.KeySize, format) + HeadBytes(layer.ValueSize, format));
        }

        return bytes;
    }

    /// <summary>Positions that a layer keeps: <see cref="Capacity"/>, or fewer where it has a window.</summary>
    /// <param name="layer">Layer.</param>
    public int Rows(int layer) => Layers[layer].Rows(Capacity, Batch);

    /// <summary>Bytes of one position's keys or values in a layer.</summary>
    /// <param name="layer">Layer.</param>
    /// <param name="values">False for keys, true for values.</param>
    public int RowBytes(int layer, bool values)
    {
        KvLayer shape = Layers[layer];
        return checked((int)Format.RowBytes((long)shape.Heads * (values ? shape.ValueSize : shape.KeySize)));
    }

    /// <summary>Copies a cache of the same shape and backend into this one: the first positions, of layers with a window everything. Waits for pending work.</summary>
    /// <param name="source">The other cache.</param>
    /// <param name="positions">Positions in use.</param>
    public abstract void CopyFrom(KvCache source, int positions);

    /// <summary>Copies one position's keys or values out (the caller knows that the layer still has it), encoded in <see cref="Format"/>. Waits for pending work.</summary>
    /// <param name="layer">Layer.</param>
    /// <param name="values">False for keys, true for values.</param>
    /// <param name="position">Position.</param>
    /// <param name="row">[<see cref="RowBytes"/>] bytes, overwritten.</param>
    public abstract void ReadRow(int layer, bool values, int position, Span<byte> row);

    /// <summary>Overwrites one position's keys or values.</summary>
    /// <param name="layer">Layer.</param>
    /// <param name="values">False for keys, true for values.</param>
    /// <param name="position">Position.</param>
    /// <param name="row">[<see cref="RowBytes"/>] bytes, encoded in <see cref="Format"/>.</param>
    public abstract void WriteRow(int layer, bool values, int position, ReadOnlySpan<byte> row);

    /// <summary>Frees the memory.</summary>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Frees the memory.</summary>
    /// <param name="disposing">False when called by a finalizer.</param>
    protected abstract void Dispose(bool disposing);

    private static long HeadBytes(int size, BlockFormat format)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(size);
        if (size % format.BlockValues != 0)
            throw new ArgumentException($"a head of {size} values cannot be kept in {format.Name}, which needs a multiple of {format.BlockValues}; use F16 or F32.", nameof(format));
        return format.RowBytes(size);
    }
}
