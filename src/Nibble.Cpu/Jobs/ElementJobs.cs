using Nibble.Core.Compute;
using Nibble.Cpu.Kernels;
using Nibble.Cpu.Threading;

namespace Nibble.Cpu.Jobs;

/// <summary>Work on the values of rows, cut into runs of columns so that one long row is shared too.</summary>
internal abstract class ElementJob : UnitJob
{
    private const int RunColumns = 1024;

    private int _columns, _runs;

    /// <summary>Sets the shape.</summary>
    protected void Shape(int rows, int columns)
    {
        (_columns, _runs) = (columns, (columns + RunColumns - 1) / RunColumns);
        Units = rows * _runs;
    }

    protected sealed override void Unit(int unit, int thread)
    {
        int first = unit % _runs * RunColumns;
        Values(unit / _runs, first, Math.Min(RunColumns, _columns - first));
    }

    /// <summary>Does some values of a row.</summary>
    protected abstract void Values(int row, int first, int count);
}

/// <summary><see cref="Backend.Add"/>, and <see cref="Backend.AddBias"/> with one row for all.</summary>
internal sealed unsafe class AddJob(CpuKernels kernels) : ElementJob
{
    private Rows _a, _b, _y;
    private float* _bias;

    /// <summary>y = a + b.</summary>
    public void Prepare(Tensor a, Tensor b, Tensor y)
    {
        (_a, _b, _y) = (new Rows(a), new Rows(b), new Rows(y));
        _bias = null;
        Shape(a.Rows, a.Columns);
    }

    /// <summary>x = x + bias.</summary>
    public void Prepare(Tensor x, float* bias)
    {
        (_a, _y) = (new Rows(x), new Rows(x));
        _bias = bias;
        Shape(x.Rows, x.Columns);
    }

    protected override void Values(int row, int first, int count) =>
        kernels.Add(_a[row] + first, (_bias == null ? _b[row] : _bias) + first, _y[row] + first, count);
}

/// <summary><see cref="Backend.AddExpertBias"/>.</summary>
internal sealed unsafe class AddExpertBiasJob(CpuKernels kernels) : ElementJob
{
    private Rows _x, _experts;
    private float* _biases;

    /// <summary>x[row] = x[row] + the bias of its expert; the experts were checked.</summary>
    public void Prepare(Tensor x, float* biases, Tensor experts)
    {
        (_x, _experts) = (new Rows(x), new Rows(experts));
        _biases = biases;
        Shape(x.Rows, x.Columns);
    }

    protected override void Values(int row, int first, int count)
    {
        int expert = ((int*)_experts[row / _experts.Columns])[row % _experts.Columns];
        float* x = _x[row] + first;
        kernels.Add(x, _biases + ((long)expert * _x.Columns) + first, x, count);
    }
}

/// <summary>What an operation of one input and one number does to values.</summary>
internal enum Change
{
    /// <summary><see cref="Backend.Copy"/>.</summary>
    Copy,

    /// <summary><see cref="Backend.Scale"/>.</summary>
    Scale,

    /// <summary><see cref="Backend.Clamp"/>.</summary>
    Clamp,

    /// <summary><see cref="Backend.SoftCap"/>.</summary>
    SoftCap,
}

/// <summary>The operations of <see cref="Change"/>.</summary>
internal sealed unsafe class ChangeJob(CpuKernels kernels) : ElementJob
{
    private Change _change;
    private Rows _x, _y;
    private float _number;

    public void Prepare(Change change, Tensor x, float number, Tensor y)
    {
        (_change, _x, _number, _y) = (change, new Rows(x), number, new Rows(y));
        Shape(x.Rows, x.Columns);
    }

    protected override void Values(int row, int first, int count)
    {
        float* x = _x[row] + first, y = _y[row] + first;
        switch (_change)
        {
            case Change.Scale:
                kernels.Scale(x, _number, y, count);
                break;
            case Change.Clamp:
                kernels.Clamp(x, _number, y, count);
                break;
            case Change.SoftCap:
                kernels.SoftCap(x, _number, y, count);
                break;
            default:
                new Span<float>(x, count).CopyTo(new Span<float>(y, count));
                break;
        }
    }
}

/// <summary><see cref="Backend.GatedActivation"/> and <see cref="Backend.Activate"/>.</summary>
internal sealed unsafe class ActivationJob(CpuKernels kernels) : ElementJob
{
    private Activation _activation;
    private Rows _gate, _up, _y;
    private bool _gated;

    /// <summary>y = activation(gate) x up.</summary>
    public void Prepare(Activation activation, Tensor gate, Tensor up, Tensor y)
    {
        (_activation, _gate, _up, _y, _gated) = (activation, new Rows(gate), new Rows(up), new Rows(y), true);
        Shape(gate.Rows, gate.Columns);
    }

    /// <summary>y = activation(x).</summary>
    public void Prepare(Activation activation, Tensor x, Tensor y)
    {
        (_activation, _gate, _y, _gated) = (activation, new Rows(x), new Rows(y), false);
        Shape(x.Rows, x.Columns);
    }

    protected override void Values(int row, int first, int count) =>
        kernels.Activate(_activation, _gate[row] + first, _gated ? _up[row] + first : null, _y[row] + first, count);
}

/// <summary><see cref="Backend.Combine"/>.</summary>
internal sealed unsafe class CombineJob(CpuKernels kernels) : ElementJob
{
    private Rows _x, _weights, _y;
    private long _stride;

    public void Prepare(Tensor x, Tensor weights, Tensor y)
    {
        (_x, _weights, _y, _stride) = (new Rows(x), new Rows(weights), new Rows(y), x.Stride);
        Shape(y.Rows, y.Columns);
    }

    protected override void Values(int row, int first, int count) =>
        kernels.Combine(_x[row * _weights.Columns] + first, _stride, _weights[row], _weights.Columns, _y[row] + first, count);
}
