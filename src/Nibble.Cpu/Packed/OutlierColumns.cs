using System.Runtime.Intrinsics;
using Nibble.Core.Encodings;
using Nibble.Core.Memory;

namespace Nibble.Cpu.Packed;

/// <summary>The columns of an encoded matrix whose values are stored apart, in float32: their products are added to those of the codes.</summary>
internal sealed unsafe class OutlierColumns : IDisposable
{
    private readonly NativeBuffer _values;
    private readonly int[] _columns;

    /// <summary>Takes the values over.</summary>
    /// <param name="source">The tensor, which has such columns.</param>
    public OutlierColumns(EncodedTensor source)
    {
        _columns = source.OutlierColumns.ToArray();
        int rowTiles = (source.Rows + 15) / 16;
        _values = new NativeBuffer(Bytes(source));
        float* values = (float*)_values.Pointer;
        float[] row = new float[_columns.Length];
        for (int r = 0; r < source.Rows; r++)
        {
            source.CopyOutliers(r, row);
            for (int k = 0; k < row.Length; k++)
                values[((((long)(r / 16) * row.Length) + k) * 16) + (r % 16)] = row[k];
        }
    }

    /// <summary>Bytes of the values.</summary>
    public static long Bytes(EncodedTensor source) => (source.Rows + 15) / 16 * 64L * source.OutlierColumns.Length;

    /// <summary>sum += products of 16 rows, columns in ascending order, each product and each sum rounded.</summary>
    /// <param name="rowTile">Which 16 rows.</param>
    /// <param name="x">[columns] a token.</param>
    /// <param name="sum">A lane a row.</param>
    public void Add(int rowTile, float* x, ref Vector512<float> sum)
    {
        float* values = (float*)_values.Pointer + ((long)rowTile * _columns.Length * 16);
        foreach (int column in _columns)
        {
            sum += Vector512.Load(values) * x[column];
            values += 16;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _values.Dispose();
}
