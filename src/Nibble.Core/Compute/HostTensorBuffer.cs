using Nibble.Core.Memory;

namespace Nibble.Core.Compute;

/// <summary>Activations in the host's memory, for backends that compute there.</summary>
public sealed unsafe class HostTensorBuffer : TensorBuffer
{
    private readonly NativeBuffer _memory;

    /// <summary>Allocates zeroed elements.</summary>
    /// <param name="type">Element type.</param>
    /// <param name="length">Elements.</param>
    public HostTensorBuffer(ElementType type, long length)
        : base(type, length) => _memory = new NativeBuffer(checked(length * 4));

    /// <summary>A whole new tensor [rows x columns] in a buffer of its own.</summary>
    /// <param name="type">Element type.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="columns">Columns.</param>
    public static Tensor NewTensor(ElementType type, int rows, int columns) =>
        new(new HostTensorBuffer(type, (long)rows * columns), 0, rows, columns, columns);

    /// <summary>The address of a tensor's first element; rows are <see cref="Tensor.Stride"/> elements apart.</summary>
    /// <param name="tensor">A tensor in host memory.</param>
    /// <exception cref="ArgumentException">The tensor belongs to another kind of backend.</exception>
    /// <exception cref="ObjectDisposedException">Its memory was freed.</exception>
    public static float* Pointer(Tensor tensor) => (float*)Of(tensor)._memory.Pointer + tensor.Offset;

    /// <summary>One row of a float32 tensor.</summary>
    /// <param name="tensor">A tensor in host memory.</param>
    /// <param name="row">Row.</param>
    public static Span<float> Row(Tensor tensor, int row) =>
        Of(tensor)._memory.Span<float>(tensor.Offset + ((long)row * tensor.Stride), tensor.Columns);

    /// <summary>One row of an int32 tensor.</summary>
    /// <param name="tensor">A tensor in host memory.</param>
    /// <param name="row">Row.</param>
    public static Span<int> IntRow(Tensor tensor, int row) =>
        Of(tensor)._memory.Span<int>(tensor.Offset + ((long)row * tensor.Stride), tensor.Columns);

    /// <inheritdoc/>
    protected override void Dispose(bool disposing) => _memory.Dispose();

    private static HostTensorBuffer Of(Tensor tensor) =>
        tensor.Buffer as HostTensorBuffer
        ?? throw new ArgumentException($"a tensor of {tensor.Buffer?.GetType().Name ?? "no memory"} cannot be used by a backend that computes in host memory.", nameof(tensor));
}
