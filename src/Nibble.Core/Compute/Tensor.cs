namespace Nibble.Core.Compute;

/// <summary>What the elements of a <see cref="TensorBuffer"/> are.</summary>
public enum ElementType
{
    /// <summary>float32: activations.</summary>
    Float32,

    /// <summary>int32: ids of experts.</summary>
    Int32,
}

/// <summary>Activations in a backend's memory. Opaque: only the backend that allocated it can read or write it.</summary>
public abstract class TensorBuffer : IDisposable
{
    /// <summary>Describes a buffer of <paramref name="length"/> elements.</summary>
    /// <param name="type">Element type.</param>
    /// <param name="length">Elements.</param>
    protected TensorBuffer(ElementType type, long length)
    {
        Type = type;
        Length = length;
    }

    /// <summary>Element type; every element takes 4 bytes.</summary>
    public ElementType Type { get; }

    /// <summary>Elements.</summary>
    public long Length { get; }

    /// <summary>Frees the memory. The backend must have finished the work that uses it.</summary>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Frees the memory.</summary>
    /// <param name="disposing">False when called by a finalizer.</param>
    protected abstract void Dispose(bool disposing);
}

/// <summary>A view of [rows x columns] elements in a <see cref="TensorBuffer"/>. Copying the view copies no data.</summary>
public readonly struct Tensor
{
    /// <summary>A view of a part of a buffer.</summary>
    /// <param name="buffer">The memory.</param>
    /// <param name="offset">First element.</param>
    /// <param name="rows">Rows, usually one a token.</param>
    /// <param name="columns">Elements in a row, contiguous.</param>
    /// <param name="stride">Elements from one row's start to the next one's.</param>
    /// <exception cref="ArgumentOutOfRangeException">The view does not lie inside the buffer.</exception>
    public Tensor(TensorBuffer buffer, long offset, int rows, int columns, int stride)
    {
        ArgumentNullException.ThrowIfNull(buffer);
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfNegative(rows);
        ArgumentOutOfRangeException.ThrowIfNegative(columns);
        ArgumentOutOfRangeException.ThrowIfLessThan(stride, columns);
        long end = rows == 0 ? offset : offset + ((rows - 1L) * stride) + columns;
        ArgumentOutOfRangeException.ThrowIfGreaterThan(end, buffer.Length);
        Buffer = buffer;
        Offset = offset;
        Rows = rows;
        Columns = columns;
        Stride = stride;
    }

    /// <summary>The memory.</summary>
    public TensorBuffer Buffer { get; }

    /// <summary>First element.</summary>
    public long Offset { get; }

    /// <summary>Rows, usually one a token.</summary>
    public int Rows { get; }

    /// <summary>Elements in a row, contiguous.</summary>
    public int Columns { get; }

    /// <summary>Elements from one row's start to the next one's.</summary>
    public int Stride { get; }

    /// <summary>The view of some of the rows.</summary>
    /// <param name="first">First row.</param>
    /// <param name="count">Rows.</param>
    /// <exception cref="ArgumentOutOfRangeException">The rows are not all there.</exception>
    public Tensor SliceRows(int first, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(first);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(first, Rows - count);
        return new Tensor(Buffer, Offset + ((long)first * Stride), count, Columns, Stride);
    }

    /// <summary>The view of some of the columns.</summary>
    /// <param name="first">First column.</param>
    /// <param name="count">Columns.</param>
    /// <exception cref="ArgumentOutOfRangeException">The columns are not all there.</exception>
    public Tensor SliceColumns(int first, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(first);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(first, Columns - count);
        return new Tensor(Buffer, Offset + first, Rows, count, Stride);
    }

    /// <summary>The same elements in another shape.</summary>
    /// <param name="rows">New rows.</param>
    /// <param name="columns">New columns.</param>
    /// <exception cref="ArgumentException">The rows are not contiguous, or the number of elements differs.</exception>
    public Tensor Reshape(int rows, int columns)
    {
        if (Stride != Columns && Rows > 1)
            throw new ArgumentException($"a view of {Columns} columns with stride {Stride} cannot be reshaped; its rows are not contiguous.");
        if ((long)rows * columns != (long)Rows * Columns)
            throw new ArgumentException($"[{Rows} x {Columns}] cannot be reshaped to [{rows} x {columns}]; the number of elements differs.");
        return new Tensor(Buffer, Offset, rows, columns, columns);
    }
}
