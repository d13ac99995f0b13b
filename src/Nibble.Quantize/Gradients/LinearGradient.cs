using Nibble.Core.Compute;
using Nibble.Core.Gguf;
using Nibble.Core.Memory;
using Nibble.Llm.Models;

namespace Nibble.Quantize.Gradients;

/// <summary>A linear layer y = W x + b in float32, packed for its products in both directions.</summary>
internal sealed unsafe class LinearGradient : IDisposable
{
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
        _bias = linear.Bias is null ? null : Vector(file, linear.Bias);
        _forward = new NativeBuffer(MatrixProduct.PanelFloats(Columns, Rows) * sizeof(float), isZeroed: false);
        _backward = new NativeBuffer(MatrixProduct.PanelFloats(Rows, Columns) * sizeof(float), isZeroed: false);
        IWeightSource tensor = file.Weights.Find(linear.Weight)!;
        // Panel by panel, so that the packed values are the only ones.
        Work.For((Rows + MatrixProduct.PanelColumns - 1) / MatrixProduct.PanelColumns, panel =>
        {
            int first = panel * MatrixProduct.PanelColumns, count = Math.Min(MatrixProduct.PanelColumns, Rows - first);
            float[] rows = new float[count * Columns];
            for (int row = 0; row < count; row++)
                tensor.CopyRow(first + row, rows.AsSpan(row * Columns, Columns));
            Pack(first, rows);
        });
    }

    /// <summary>The tensors.</summary>
    public PlainLinear Linear { get; }

    /// <summary>Outputs.</summary>
    public int Rows { get; }

    /// <summary>Inputs.</summary>
    public int Columns { get; }

    /// <summary>[rows x columns] W, a copy; what is set takes its place.</summary>
    public float[] Values
    {
        get
        {
            float[] values = new float[Rows * Columns];
            for (int i = 0; i < values.Length; i++)
            {
                (int row, int column) = (i / Columns, i % Columns);
                values[i] = Backwards(column)[((long)row * MatrixProduct.PanelColumns) + (column % MatrixProduct.PanelColumns)];
            }

            return values;
        }
        set
        {
            for (int first = 0; first < Rows; first += MatrixProduct.PanelColumns)
                Pack(first, value.AsSpan(first * Columns, Math.Min(MatrixProduct.PanelColumns, Rows - first) * Columns));
        }
    }

    /// <summary>A vector of a file in float32.</summary>
    public static float[] Vector(GgufFile file, string name)
    {
        IWeightSource tensor = file.Weights.Find(name)!;
        float[] values = new float[tensor.Columns];
        tensor.CopyRow(0, values);
        return values;
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
        _forward.Dispose();
        _backward.Dispose();
    }

    private float* Backwards(int column) => (float*)_backward.Pointer + ((long)column / MatrixProduct.PanelColumns * MatrixProduct.PanelColumns * Rows);

    // Rows of one panel of the forward product.
    private void Pack(int first, ReadOnlySpan<float> rows)
    {
        int count = rows.Length / Columns;
        fixed (float* values = rows)
        {
            MatrixProduct.Pack(values, 1, Columns, Columns, count, (float*)_forward.Pointer + ((long)first * Columns));
            for (int column = 0; column < Columns; column += MatrixProduct.PanelColumns)
                MatrixProduct.Pack(values + column, Columns, 1, count, Math.Min(MatrixProduct.PanelColumns, Columns - column), Backwards(column) + ((long)first * MatrixProduct.PanelColumns));
        }
    }
}
