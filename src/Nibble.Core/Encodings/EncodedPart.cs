namespace Nibble.Core.Encodings;

/// <summary>The parts of an encoded tensor. In a file each is a tensor of its own, named after the encoded one: <c>NAME.codes</c>, <c>NAME.scales</c>, <c>NAME.row_order</c>.</summary>
public enum EncodedPart
{
    /// <summary>The codes of a row in whole bytes: code j has bits b j to b j + b - 1, counted from the lowest of the first byte.</summary>
    Codes,

    /// <summary>What codes are multiplied by; with a <see cref="NestedScales"/> their 8-bit codes.</summary>
    Scales,

    /// <summary>The code of zero for each scale.</summary>
    Zeros,

    /// <summary>What codes stand for: float32 [16].</summary>
    Table,

    /// <summary>What the scales' codes are multiplied by.</summary>
    NestedScales,

    /// <summary>What the scales' codes stand for: float32 [256].</summary>
    NestedTable,

    /// <summary>int32 [rows]: the stored row of each row.</summary>
    RowOrder,

    /// <summary>int32 [columns]: the column of each stored column.</summary>
    ColumnOrder,

    /// <summary>int32, ascending: columns whose values are stored apart.</summary>
    OutlierColumns,

    /// <summary>The values of those columns, [stored rows] each.</summary>
    OutlierValues,

    /// <summary>float32: what activations are rounded to whole multiples of.</summary>
    InputScale,
}

/// <summary>One part of an encoded tensor: a tensor of this format and shape.</summary>
/// <param name="Part">Which.</param>
/// <param name="Format">How its values are stored.</param>
/// <param name="Width">Values in a row of it.</param>
/// <param name="Height">Rows, of one matrix.</param>
/// <param name="Depth">How often that: the matrices, or 1.</param>
public readonly record struct EncodedPartShape(EncodedPart Part, Formats.BlockFormat Format, long Width, long Height = 1, long Depth = 1)
{
    /// <summary>Dimensions in a file: those of 1 at the end are left out.</summary>
    public long[] Dimensions => Depth > 1 ? [Width, Height, Depth] : Height > 1 ? [Width, Height] : [Width];

    /// <summary>Bytes of all rows.</summary>
    public long ByteLength => checked(Format.RowBytes(Width) * Height * Depth);

    /// <summary>What follows the encoded tensor's name in the part's.</summary>
    public string Suffix => SuffixOf(Part);

    /// <summary>What follows an encoded tensor's name in the name of a part, without the point.</summary>
    public static string SuffixOf(EncodedPart part) => part switch
    {
        EncodedPart.Codes => "codes",
        EncodedPart.Scales => "scales",
        EncodedPart.Zeros => "zeros",
        EncodedPart.Table => "table",
        EncodedPart.NestedScales => "nested_scales",
        EncodedPart.NestedTable => "nested_table",
        EncodedPart.RowOrder => "row_order",
        EncodedPart.ColumnOrder => "column_order",
        EncodedPart.OutlierColumns => "outlier_columns",
        EncodedPart.OutlierValues => "outlier_values",
        EncodedPart.InputScale => "input_scale",
        _ => throw new ArgumentOutOfRangeException(nameof(part), $"{part} is no part of an encoded tensor."),
    };
}
