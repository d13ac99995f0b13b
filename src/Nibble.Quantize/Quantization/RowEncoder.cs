using Nibble.Core.Compute;
using Nibble.Core.Formats;

namespace Nibble.Quantize.Quantization;

/// <summary>Makes rows of one tensor in another format, and refuses what would not come back as a number.</summary>
/// <param name="source">The tensor.</param>
/// <param name="format">The new format, whose blocks its rows fit.</param>
/// <param name="importance">[matrices x columns] or [columns] E[x^2] of the columns, or null.</param>
/// <param name="isBest">Whether blocks are looked for longer.</param>
internal sealed class RowEncoder(IWeightSource source, BlockFormat format, float[]? importance, bool isBest)
{
    // Below this magnitude no scale and no value of any format overflows.
    private const float Safe = 1000;

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
            float largest = Check(values, row, "the input holds");
            if (isBest) format.EncodeBest(values, Importance(row), encoded);
            else format.EncodeRow(values, Importance(row), encoded);
            if (largest < Safe) continue;
            float[] decoded = new float[values.Length];
            format.Decode(encoded, decoded);
            string what = $"its largest value is {largest:R}, and as {format} it would hold";
            Check(decoded, row, what);
            CheckLargest(values, decoded, largest, row, what);
        }
    }

    private ReadOnlySpan<float> Importance(long row)
    {
        if (importance is null) return [];
        int columns = source.Columns;
        return importance.Length == columns ? importance : importance.AsSpan((int)(row / source.Rows) * columns, columns);
    }

    // A search whose weighted sums overflow finds no scale, and the whole block becomes zero.
    private void CheckLargest(ReadOnlySpan<float> values, ReadOnlySpan<float> decoded, float largest, long row, string what)
    {
        for (int i = 0; i < values.Length; i++)
            if (MathF.Abs(values[i]) == largest && !(MathF.Abs(decoded[i] - values[i]) <= largest / 2))
                throw new QuantizationException($"tensor '{source.Name}', row {row}: {what} {decoded[i]} in its place, column {i}. Keep the tensor in F32 or BF16 with --tensor, or repair the model.");
    }

    private float Check(ReadOnlySpan<float> values, long row, string what)
    {
        float largest = 0;
        for (int i = 0; i < values.Length; i++)
        {
            float magnitude = MathF.Abs(values[i]);
            if (!float.IsFinite(magnitude))
                throw new QuantizationException($"tensor '{source.Name}', row {row}: {what} {values[i]} in column {i}, which is no finite number. Keep the tensor in F32 or BF16 with --tensor, or repair the model.");
            largest = MathF.Max(largest, magnitude);
        }

        return largest;
    }
}
