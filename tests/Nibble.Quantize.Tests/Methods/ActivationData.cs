using Nibble.Core.Memory;
using Nibble.Quantize.Calibration;

namespace Nibble.Quantize.Tests.Methods;

/// <summary>Statistics of inputs of which only the Hessian and the magnitudes are known.</summary>
internal static class ActivationData
{
    /// <param name="weight">The weight that reads them.</param>
    /// <param name="hessian">[columns x columns].</param>
    /// <param name="columns">Columns.</param>
    public static unsafe ActivationStatistics Of(string weight, float[] hessian, int columns)
    {
        float[] squares = [.. Enumerable.Range(0, columns).Select(i => hessian[i * (columns + 1)])], magnitudes = [.. squares.Select(MathF.Sqrt)];
        NativeBuffer buffer = new(sizeof(float) * (long)hessian.Length);
        hessian.CopyTo(new Span<float>(buffer.Pointer, hessian.Length));
        return new ActivationStatistics([weight], columns, [columns], squares, magnitudes, [.. magnitudes.Select(value => -value)], magnitudes, buffer, null);
    }
}
