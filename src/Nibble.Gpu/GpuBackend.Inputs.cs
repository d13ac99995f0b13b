using Nibble.Core.Compute;

namespace Nibble.Gpu;

/// <content>Activations for weights that have a scale of their inputs.</content>
public sealed partial class GpuBackend
{
    private GpuTensorBuffer? _rounded;

    /// <summary>The activations as products with a weight take them: themselves, or a copy that is rounded as <see cref="InputRounding"/> says and stays until the next call.</summary>
    internal Tensor Rounded(Tensor x, Weight weight)
    {
        if (weight.InputScale == 0) return x;
        long count = (long)x.Rows * x.Columns;
        if (_rounded is null || _rounded.Length < count)
        {
            _rounded?.Dispose();
            _rounded = null;
            _rounded = new GpuTensorBuffer(_device, ElementType.Float32, count);
        }

        Tensor rounded = new(_rounded, 0, x.Rows, x.Columns, x.Columns);
        RunElements(Input(Input(Elements("round_inputs"), x), rounded).With(x.Columns).With(weight.InputScale).With(1 / weight.InputScale), rounded);
        return rounded;
    }
}
