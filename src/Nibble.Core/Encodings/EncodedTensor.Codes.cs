namespace Nibble.Core.Encodings;

/// <content>
/// Rows as codes, for whoever puts them into another order: w[column of j] = scales[j / run] (value of codes[j] - zeros[j / run]) in real numbers, outliers apart. Rounded to float32 it may be off by the last bits from
/// <see cref="DecodeRow"/>, which rounds where the encoding's formula does.
/// </content>
public sealed partial class EncodedTensor
{
    /// <summary>Stored columns that share scale and zero in every row: runs of so many, which divide the columns.</summary>
    public int ScaleRun => Encoding.ScaleRun;

    /// <summary>The column of each stored one; empty where they are in order.</summary>
    public ReadOnlySpan<int> ColumnOrder => _columnOrder;

    /// <summary>Columns, ascending, whose codes do not count and whose values <see cref="CopyOutliers"/> gives; empty where there are none.</summary>
    public ReadOnlySpan<int> OutlierColumns => _outlierColumns;

    /// <summary>What codes stand for: [16] or [256]; empty where they stand for themselves.</summary>
    public ReadOnlySpan<float> CodeValues => Encoding switch
    {
        TableEncoding => _data.Row<float>(EncodedPart.Table, 0),
        Float8Encoding => Float8Encoding.Values.AsSpan(),
        _ => [],
    };

    /// <summary>The codes of a row, unsigned and in the order of stored columns.</summary>
    /// <param name="row">0 to <see cref="RowCount"/> - 1.</param>
    /// <param name="codes">[columns], overwritten.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such row.</exception>
    /// <exception cref="ArgumentException"><paramref name="codes"/> has another length.</exception>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public void CopyCodes(long row, Span<byte> codes)
    {
        CheckLength(nameof(codes), codes.Length, Columns);
        Encoding.CopyCodes(_data, StoredRow(row), codes);
    }

    /// <summary>The scales and zeros of a row's runs.</summary>
    /// <param name="row">0 to <see cref="RowCount"/> - 1.</param>
    /// <param name="scales">[columns / <see cref="ScaleRun"/>] float32, overwritten.</param>
    /// <param name="zeros">As the scales.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such row.</exception>
    /// <exception cref="ArgumentException">A span has another length.</exception>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public void CopyScales(long row, Span<float> scales, Span<float> zeros)
    {
        CheckLength(nameof(scales), scales.Length, Columns / ScaleRun);
        CheckLength(nameof(zeros), zeros.Length, Columns / ScaleRun);
        Encoding.CopyScales(_data, StoredRow(row), scales, zeros);
    }

    /// <summary>The values of a row in <see cref="OutlierColumns"/>.</summary>
    /// <param name="row">0 to <see cref="RowCount"/> - 1.</param>
    /// <param name="values">[outlier columns] float32, overwritten.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such row.</exception>
    /// <exception cref="ArgumentException"><paramref name="values"/> has another length.</exception>
    /// <exception cref="ObjectDisposedException">The file was closed.</exception>
    public void CopyOutliers(long row, Span<float> values)
    {
        CheckLength(nameof(values), values.Length, _outlierColumns.Length);
        long stored = StoredRow(row);
        for (int k = 0; k < values.Length; k++)
            values[k] = new ScalarRow(Encoding.OutlierFormat, _data.Row(EncodedPart.OutlierValues, k))[stored];
    }

    private void CheckLength(string what, int length, int needed)
    {
        if (length != needed) throw new ArgumentException($"the span holds {length} values; a row of {Name} needs {needed}.", what);
    }
}
