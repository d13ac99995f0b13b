using Nibble.Core.Formats;

namespace Nibble.Core.Compute;

/// <summary>Weights that a backend has taken in, in whatever order it likes. Opaque, immutable, shared by all sessions.</summary>
public abstract class Weight : IDisposable
{
    /// <summary>Describes uploaded weights.</summary>
    /// <param name="source">Where they came from.</param>
    protected Weight(IWeightSource source)
    {
        ArgumentNullException.ThrowIfNull(source);
        Name = source.Name;
        Format = source.Format;
        Rows = source.Rows;
        Columns = source.Columns;
        Matrices = source.Matrices;
        ByteLength = source.ByteLength;
        InputScale = source.InputScale;
    }

    /// <summary>The tensor's name.</summary>
    public string Name { get; }

    /// <summary>The format in the file.</summary>
    public BlockFormat Format { get; }

    /// <summary>Rows of one matrix: the output dimension.</summary>
    public int Rows { get; }

    /// <summary>Values in a row: the input dimension.</summary>
    public int Columns { get; }

    /// <summary>Matrices; 1 unless these are experts.</summary>
    public int Matrices { get; }

    /// <summary>Bytes in the file.</summary>
    public long ByteLength { get; }

    /// <summary>What activations are rounded to whole multiples of in products with it (<see cref="InputRounding"/>); 0 for none.</summary>
    public float InputScale { get; }

    /// <summary>Frees what the backend allocated for it.</summary>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Frees what the backend allocated for it.</summary>
    /// <param name="disposing">False when called by a finalizer.</param>
    protected abstract void Dispose(bool disposing);
}
