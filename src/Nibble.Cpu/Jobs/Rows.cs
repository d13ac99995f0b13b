using Nibble.Core.Compute;

namespace Nibble.Cpu.Jobs;

/// <summary>The rows of a tensor in host memory.</summary>
internal readonly unsafe struct Rows
{
    private readonly float* _first;
    private readonly long _stride;

    public Rows(Tensor tensor)
    {
        _first = HostTensorBuffer.Pointer(tensor);
        (_stride, Count, Columns) = (tensor.Stride, tensor.Rows, tensor.Columns);
    }

    public Rows(float* first, long stride, int count, int columns)
    {
        _first = first;
        (_stride, Count, Columns) = (stride, count, columns);
    }

    public int Count { get; }

    public int Columns { get; }

    public float* this[int row] => _first + (row * _stride);
}
