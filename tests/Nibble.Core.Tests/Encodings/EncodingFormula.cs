using System.Runtime.InteropServices;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;

namespace Nibble.Core.Tests.Encodings;

/// <summary>One value of an encoded tensor from the bytes of its parts, by the formulas of docs/encodings.md: slow, and without the code under test.</summary>
internal sealed class EncodingFormula(TensorEncoding encoding, Dictionary<EncodedPart, byte[]> parts)
{
    public float Value(int matrix, int row, int column)
    {
        int storedRow = parts.TryGetValue(EncodedPart.RowOrder, out byte[]? rows) ? Ints(rows)[row] : row;
        if (encoding.Outliers > 0 && Array.IndexOf(Ints(parts[EncodedPart.OutlierColumns]), column) is int k and >= 0)
            return Float(encoding.OutlierFormat, EncodedPart.OutlierValues, ((long)k * encoding.Rows) + storedRow);
        int storedColumn = parts.TryGetValue(EncodedPart.ColumnOrder, out byte[]? columns) ? Array.IndexOf(Ints(columns), column) : column;
        return encoding switch
        {
            TableEncoding table => OfTable(table, matrix, storedRow, storedColumn),
            GroupEncoding group => OfGroup(group, matrix, storedRow, storedColumn),
            Int8Encoding int8 => OfInt8(int8, matrix, storedRow, storedColumn),
            Float8Encoding float8 => OfFloat8(float8, matrix, storedRow, storedColumn),
            _ => throw new ArgumentException("no formula"),
        };
    }

    private float OfTable(TableEncoding table, int matrix, int row, int column)
    {
        int code = Code(4, matrix, row, column);
        long block = table.IsFlat
            ? (((long)row * table.Columns) + column) / table.Block
            : ((long)row * (table.Columns / table.Block)) + (column / table.Block);
        long blocks = table.IsFlat ? (((long)table.Rows * table.Columns) + table.Block - 1) / table.Block : (long)table.Rows * (table.Columns / table.Block);
        float scale;
        if (table.NestedBlock == 0)
        {
            scale = Float(table.ScaleFormat, EncodedPart.Scales, (matrix * blocks) + block);
        }
        else
        {
            long nestedBlocks = (blocks + table.NestedBlock - 1) / table.NestedBlock;
            scale = Float(BlockFormats.F32, EncodedPart.NestedTable, parts[EncodedPart.Scales][(matrix * blocks) + block]);
            scale *= Float(BlockFormats.F32, EncodedPart.NestedScales, (matrix * nestedBlocks) + (block / table.NestedBlock));
            scale += table.NestedOffset;
        }

        return Float(BlockFormats.F32, EncodedPart.Table, code) * scale;
    }

    private float OfGroup(GroupEncoding group, int matrix, int row, int column)
    {
        long index = group.IsFlat
            ? (matrix * ((((long)group.Rows * group.Columns) + group.Group - 1) / group.Group)) + ((((long)row * group.Columns) + column) / group.Group)
            : ((((long)matrix * group.Rows) + row) * (group.Columns / group.Group)) + (column / group.Group);
        float zero = group.ZeroFormat is null ? group.Zero : group.ZeroFormat == BlockFormats.I8 ? parts[EncodedPart.Zeros][index] : Float(group.ZeroFormat, EncodedPart.Zeros, index);
        float difference = Code(group.Bits, matrix, row, column) - zero;
        return Float(group.ScaleFormat, EncodedPart.Scales, index) * difference;
    }

    private float OfInt8(Int8Encoding int8, int matrix, int row, int column)
    {
        float product = (sbyte)Code(8, matrix, row, column) * Float(int8.ScaleFormat, EncodedPart.Scales, ((long)matrix * int8.Rows) + row);
        return product * (float)(1.0 / 127);
    }

    private float OfFloat8(Float8Encoding float8, int matrix, int row, int column)
    {
        int across = (float8.Columns + float8.BlockColumns - 1) / float8.BlockColumns, down = (float8.Rows + float8.BlockRows - 1) / float8.BlockRows;
        float scale = Float(float8.ScaleFormat, EncodedPart.Scales, ((((long)matrix * down) + (row / float8.BlockRows)) * across) + (column / float8.BlockColumns));
        int code = Code(8, matrix, row, column), exponent = code >> 3 & 15;
        double value = exponent == 0 ? (code & 7) / 8.0 * Math.Pow(2, -6) : (1 + ((code & 7) / 8.0)) * Math.Pow(2, exponent - 7);
        return (float)(code >= 128 ? -value : value) * scale;
    }

    private int Code(int bits, int matrix, int row, int column)
    {
        long first = (((long)matrix * encoding.Rows) + row) * encoding.Columns * bits;
        int code = 0;
        for (int bit = 0; bit < bits; bit++)
        {
            long at = first + ((long)column * bits) + bit;
            code |= (parts[EncodedPart.Codes][at / 8] >> (int)(at % 8) & 1) << bit;
        }

        return code;
    }

    private float Float(BlockFormat format, EncodedPart part, long index)
    {
        float[] value = new float[1];
        format.Decode(parts[part].AsSpan((int)index * format.BlockBytes, format.BlockBytes), value);
        return value[0];
    }

    private static int[] Ints(byte[] bytes) => MemoryMarshal.Cast<byte, int>(bytes).ToArray();
}
