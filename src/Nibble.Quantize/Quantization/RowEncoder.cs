using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Quantize.Methods;

namespace Nibble.Quantize.Quantization;

/// <summary>Makes rows of one tensor in another format, and refuses what would not come back as a number.</summary>
/// <param name="source">The tensor.</param>
/// <param name="format">The new format, whose blocks its rows fit.</param>
/// <param name="importance">[matrices x columns] or [columns] E[x^2] of the columns, or null.</param>
/// <param name="method">How.</param>
internal sealed class RowEncoder(IWeightSource source, BlockFormat format, float[]? importance, RoundToNearest method)
{
    /// <summary>Encodes rows one after the other.</summary>
    /// <param name="first">The first row, counted through all matrices.</param>
    /// <param name="blocks">[rows x bytes of a row] overwritten.</param>
    /// <exception cref="QuantizationException">A value is NaN or infinite, or the format cannot hold it.</exception>
    public void Encode(long first, Span<byte> blocks)
    {
        float[] values = new float[source.Columns];
        int rowBytes = (int)format.RowBytes(source.Columns);
        for (int i = 0; i < blocks.Length / rowBytes; i++)
        {
            long row = first + i;
            Span<byte> encoded = blocks.Slice(i * rowBytes, rowBytes);
            source.CopyRow(row, values);
            float largest = ValueCheck.Input(source.Name, row, values);
            method.EncodeRow(format, values, Importance(row), encoded);
            if (largest < ValueCheck.Safe) continue;
            float[] decoded = new float[values.Length];
            format.Decode(encoded, decoded);
            ValueCheck.Output(source.Name, row, values, decoded, largest, format.Name);
        }
    }

    private ReadOnlySpan<float> Importance(long row)
    {
        if (importance is null) return [];
        int columns = source.Columns;
        return importance.Length == columns ? importance : importance.AsSpan((int)(row / source.Rows) * columns, columns);
    }
}
