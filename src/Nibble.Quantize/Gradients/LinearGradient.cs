using Nibble.Core.Compute;
using Nibble.Core.Gguf;
using Nibble.Core.Memory;
using Nibble.Llm.Models;

namespace Nibble.Quantize.Gradients;

/// <summary>A linear layer y = W x + b in float32, packed for its products in both directions.</summary>
internal sealed unsafe class LinearGradient : IDisposable
{
    private readonly NativeBuffer _values;
    private readonly NativeBuffer _forward;
    private readonly NativeBuffer _backward;
    private readonly float[]? _bias;

    /// <summary>Reads a layer.</summary>
    /// <param name="linear">Its tensors.</param>
    /// <param name="file">The file.</param>
    public LinearGradient(PlainLinear linear, GgufFile file)
    {
        Linear = linear;
        Rows = linear.Rows;
        Columns = linear.Columns;
        _values = new NativeBuffer((long)Rows * Columns * sizeof(float), isZeroed: false);
        IWeightSource tensor = file.Weights.Find(linear.Weight)!;
        Parallel.For(0, Rows, row => tensor.CopyRow(row, new Span<float>(Values + ((long)row * Columns), Columns)));
        _bias = linear.Bias is null ? null : Vector(file, linear.Bias);
        _forward = new NativeBuffer(MatrixProduct.PanelFloats(Columns, Rows) * sizeof(float), isZeroed: false);
        _backward = new NativeBuffer(MatrixProduct.PanelFloats(Rows, Columns) * sizeof(float), isZeroed: false);
        Pack();
    }

    /// <summary>The tensors.</summary>
    public PlainLinear Linear { get; }

    /// <summary>Outputs.</summary>
    public int Rows { get; }

    /// <summary>Inputs.</summary>
    public int Columns { get; }

    /// <summary>[rows x columns] W; after a change, <see cref="Pack"/>.</summary>
    public float* Values => (float*)_values.Pointer;

    /// <summary>A vector of a file in float32.</summary>
    public static float[] Vector(GgufFile file, string name)
    {
        IWeightSource tensor = file.Weights.Find(name)!;
        float[] values = new float[tensor.Columns];
        tensor.CopyRow(0, values);
        return values;
    }

    /// <summary>Packs what <see cref="Values"/> holds.</summary>
    public void Pack()
    {
        MatrixProduct.Pack(Values, 1, Columns, Columns, Rows, (float*)_forward.Pointer);
        MatrixProduct.Pack(Values, Columns, 1, Rows, Columns, (float*)_backward.Pointer);
    }

    /// <summary>y = W x + b.</summary>
    /// <param name="x">[tokens x columns].</param>
    /// <param name="y">[tokens x rows], overwritten.</param>
    public void Forward(Matrix x, Matrix y)
    {
        MatrixProduct.Multiply(x.Values, Columns, 1, x.Rows, (float*)_forward.Pointer, Columns, Columns, Rows, y.Values, Rows, add: false);
        if (_bias is null) return;
        for (int t = 0; t < y.Rows; t++)
            RowMath.Add(_bias, y.Row(t));
    }

    /// <summary>dx = Wᵀ dy, or dx += Wᵀ dy.</summary>
    /// <param name="dy">[tokens x rows].</param>
    /// <param name="dx">[tokens x columns].</param>
    /// <param name="add">Whether it is added.</param>
    public void Backward(Matrix dy, Matrix dx, bool add) =>
        MatrixProduct.Multiply(dy.Values, Rows, 1, dy.Rows, (float*)_backward.Pointer, Rows, Rows, Columns, dx.Values, Columns, add);

    /// <inheritdoc/>
    public void Dispose()
    {
        _values.Dispose();
        _forward.Dispose();
        _backward.Dispose();
    }
}
