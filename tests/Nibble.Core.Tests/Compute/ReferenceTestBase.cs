using System.Runtime.InteropServices;
using Nibble.Core.Compute;
using Nibble.Core.Formats;

namespace Nibble.Core.Tests.Compute;

/// <summary>A <see cref="ReferenceBackend"/>, and tensors and weights written as lists.</summary>
public abstract class ReferenceTestBase : IDisposable
{
    protected ReferenceBackend Backend { get; } = new();

    public void Dispose()
    {
        Backend.Dispose();
        GC.SuppressFinalize(this);
    }

    protected Weight Vector(params float[] values) => Backend.Upload(new Matrix(values, values.Length, 1));

    protected Tensor Tensor(float[] values, int rows, int columns)
    {
        Tensor tensor = Backend.Allocate(ElementType.Float32, rows, columns);
        Backend.Write(values, tensor);
        return tensor;
    }

    protected Tensor Ints(int[] values, int rows, int columns)
    {
        Tensor tensor = Backend.Allocate(ElementType.Int32, rows, columns);
        Backend.Write(values, tensor);
        return tensor;
    }

    protected float[] Read(Tensor tensor)
    {
        float[] values = new float[tensor.Rows * tensor.Columns];
        Backend.Read(tensor, values);
        return values;
    }
}

/// <summary>Weights written as a list.</summary>
internal sealed class Matrix(float[] values, int columns, int rows, int matrices = 1) : IWeightSource
{
    public string Name => "test";

    public BlockFormat Format => BlockFormats.F32;

    public int Columns => columns;

    public int Rows => rows;

    public int Matrices => matrices;

    public ReadOnlySpan<byte> Row(long row) => MemoryMarshal.AsBytes(values.AsSpan((int)row * columns, columns));
}
