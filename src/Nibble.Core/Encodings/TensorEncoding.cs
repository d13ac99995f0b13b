using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;

namespace Nibble.Core.Encodings;

/// <summary>
/// How a matrix (or several of one shape) is stored in parts: the description that a file has as one line of metadata (docs/encodings.md). The derived records say which parts there are
/// and what a value is.
/// </summary>
/// <remarks>
/// A row and a column are those of the weight as the model uses it. Stored rows and stored columns are those of the parts: the order of the checkpoint that they came from, or of an act-order method.
/// </remarks>
/// <param name="Name">The tensor's name, as if it were one tensor: <c>blk.0.attn_q.weight</c>.</param>
/// <param name="Columns">Values in a row: the input dimension.</param>
/// <param name="Rows">Rows of one matrix: the output dimension.</param>
public abstract record TensorEncoding(string Name, int Columns, int Rows)
{
    // Ten parts of so many bytes still have a sum.
    private const long MostBytes = long.MaxValue / 16;

    private protected static readonly BlockFormat[] Floats = [BlockFormats.F32, BlockFormats.F16, BlockFormats.BF16];

    /// <summary>Matrices; 1 unless the tensor holds experts.</summary>
    public int Matrices { get; init; } = 1;

    /// <summary>Whether row r is stored row <see cref="EncodedPart.RowOrder"/>[r], in every matrix.</summary>
    public bool HasRowOrder { get; init; }

    /// <summary>Whether stored column j is column <see cref="EncodedPart.ColumnOrder"/>[j], in every matrix.</summary>
    public bool HasColumnOrder { get; init; }

    /// <summary>Columns whose values are stored apart, and whose codes do not count; only of a single matrix.</summary>
    public int Outliers { get; init; }

    /// <summary>How the values of outlier columns are stored: F32, F16 or BF16.</summary>
    public BlockFormat OutlierFormat { get; init; } = BlockFormats.F16;

    /// <summary>Whether activations are rounded to multiples of one <see cref="EncodedPart.InputScale"/> (<see cref="InputRounding"/>); not together with <see cref="Outliers"/>.</summary>
    public bool HasInputScale { get; init; }

    /// <summary>The first word of the description.</summary>
    public abstract string Kind { get; }

    /// <summary>A few words for people, for example <c>int4 g128</c>.</summary>
    public string Title => HasInputScale ? OwnTitle + " static" : OwnTitle;

    /// <summary>Bits of a code: 2, 3, 4 or 8.</summary>
    public abstract int BitsPerCode { get; }

    /// <summary>Every part, the codes first.</summary>
    public IReadOnlyList<EncodedPartShape> Parts()
    {
        List<EncodedPartShape> parts = [.. OwnParts()];
        if (HasRowOrder) parts.Add(new(EncodedPart.RowOrder, BlockFormats.I32, Rows));
        if (HasColumnOrder) parts.Add(new(EncodedPart.ColumnOrder, BlockFormats.I32, Columns));
        if (Outliers > 0)
        {
            parts.Add(new(EncodedPart.OutlierColumns, BlockFormats.I32, Outliers));
            parts.Add(new(EncodedPart.OutlierValues, OutlierFormat, Rows, Outliers));
        }

        if (HasInputScale) parts.Add(new(EncodedPart.InputScale, BlockFormats.F32, 1));

        return parts;
    }

    /// <summary>Bytes of all parts.</summary>
    public long ByteLength => Parts().Sum(part => part.ByteLength);

    /// <summary>Bits that one value takes, scales, tables and orders included.</summary>
    public double BitsPerWeight => 8.0 * ByteLength / ((double)Columns * Rows * Matrices);

    /// <summary>The description in a file's metadata.</summary>
    public string ToText()
    {
        EncodingText text = new(Kind);
        text.Add("columns", Columns);
        text.Add("rows", Rows);
        if (Matrices != 1) text.Add("matrices", Matrices);
        WriteFields(text);
        if (HasRowOrder) text.Add("row_order");
        if (HasColumnOrder) text.Add("column_order");
        if (Outliers > 0)
        {
            text.Add("outliers", Outliers);
            text.Add("outlier_values", OutlierFormat);
        }

        if (HasInputScale) text.Add("input_scale");

        return text.ToString();
    }

    /// <summary>Reads a description.</summary>
    /// <param name="name">The tensor's name.</param>
    /// <param name="text">What <see cref="ToText"/> gave.</param>
    /// <exception cref="FormatException">It is none, or one of a newer version: the message names word and bound.</exception>
    public static TensorEncoding Parse(string name, string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        EncodingFields fields = new(text);
        int columns = fields.Integer("columns"), rows = fields.Integer("rows");
        TensorEncoding encoding = fields.Kind switch
        {
            TableEncoding.KindName => TableEncoding.Read(name, columns, rows, fields),
            GroupEncoding.KindName => GroupEncoding.Read(name, columns, rows, fields),
            Int8Encoding.KindName => Int8Encoding.Read(name, columns, rows, fields),
            Float8Encoding.KindName => Float8Encoding.Read(name, columns, rows, fields),
            _ => throw new FormatException(
                $"the encoding is {GgufException.Quote(fields.Kind)}; known are {TableEncoding.KindName}, {GroupEncoding.KindName}, {Int8Encoding.KindName} and {Float8Encoding.KindName}."),
        };
        int outliers = fields.Integer("outliers", 0);
        encoding = encoding with
        {
            Matrices = fields.Integer("matrices", 1),
            HasRowOrder = fields.Flag("row_order"),
            HasColumnOrder = fields.Flag("column_order"),
            Outliers = outliers,
            OutlierFormat = outliers > 0 ? fields.Format("outlier_values") : BlockFormats.F16,
            HasInputScale = fields.Flag("input_scale"),
        };
        fields.Finish();
        try
        {
            encoding.Check();
        }
        catch (ArgumentException e)
        {
            throw new FormatException(e.Message, e);
        }

        return encoding;
    }

    /// <summary>Checks that the description can stand in a file.</summary>
    /// <exception cref="ArgumentException">It cannot; the message names value and bound.</exception>
    public void Check()
    {
        ArgumentException.ThrowIfNullOrEmpty(Name);
        InBounds("columns", Columns, 1, GgufLimits.MaxExtent);
        InBounds("rows", Rows, 1, GgufLimits.MaxExtent);
        InBounds("matrices", Matrices, 1, GgufLimits.MaxExtent / Rows);
        InBounds("outliers", Outliers, 0, Matrices == 1 ? Columns : 0);
        if (!Floats.Contains(OutlierFormat)) throw NoFloat("outlier_values", OutlierFormat);
        if (HasInputScale && Outliers > 0) throw new ArgumentException($"{Name} has {Outliers} outlier columns, whose activations are not rounded, and input_scale; one of them is possible.");
        CheckOwn();
        foreach (EncodedPartShape part in Parts())
        {
            if (part.Width > GgufLimits.MaxExtent || part.Format.RowBytes(part.Width) > GgufLimits.MaxExtent)
                throw new ArgumentException($"{Name}.{part.Suffix} has rows of {part.Width} values; at most {GgufLimits.MaxExtent} bytes are possible.");
            UInt128 bytes = (UInt128)part.Format.RowBytes(part.Width) * (UInt128)part.Height * (UInt128)part.Depth;
            if (bytes > (UInt128)MostBytes) throw new ArgumentException($"{Name}.{part.Suffix} takes {bytes} bytes; at most {MostBytes} are possible.");
        }
    }

    /// <summary>Decodes a stored row into stored columns, outliers apart.</summary>
    /// <param name="data">The parts.</param>
    /// <param name="row">Stored row, counted over all matrices.</param>
    /// <param name="values">[columns] float32, overwritten.</param>
    internal abstract void Decode(EncodedData data, long row, Span<float> values);

    /// <inheritdoc cref="EncodedTensor.ScaleRun"/>
    internal abstract int ScaleRun { get; }

    /// <summary>The codes of a stored row, unsigned.</summary>
    internal abstract void CopyCodes(EncodedData data, long row, Span<byte> codes);

    /// <summary>The scales and zeros of a stored row's runs of <see cref="ScaleRun"/> columns.</summary>
    internal abstract void CopyScales(EncodedData data, long row, Span<float> scales, Span<float> zeros);

    /// <summary><see cref="Title"/> without what all kinds may have.</summary>
    private protected abstract string OwnTitle { get; }

    /// <summary>The parts of the derived record.</summary>
    private protected abstract IEnumerable<EncodedPartShape> OwnParts();

    /// <summary>Checks the properties of the derived record.</summary>
    private protected abstract void CheckOwn();

    /// <summary>Writes the properties of the derived record.</summary>
    private protected abstract void WriteFields(EncodingText text);

    private protected void InBounds(string what, long value, long lowest, long highest)
    {
        if (value < lowest || value > highest) throw new ArgumentException($"{what} of {Name} is {value}; {lowest} to {highest} are possible.");
    }

    private protected ArgumentException NoFloat(string what, BlockFormat format) =>
        new($"{what} of {Name} are {format}; {string.Join(", ", Floats.Select(one => one.Name))} are possible.");

    /// <summary>Columns that share a scale in every row, where blocks of so many divide each row, from its beginning or through the whole matrix.</summary>
    private protected int RunOf(int block, bool isFlat)
    {
        if (!isFlat && block >= Columns) return Columns;
        int divisor = Columns;
        for (int rest = block; rest != 0;)
            (divisor, rest) = (rest, divisor % rest);
        return divisor;
    }

    private protected void CheckCodeBits(int bits)
    {
        if ((long)Columns * bits % 8 != 0)
            throw new ArgumentException($"{Name} has {Columns} columns of {bits} bits; a row must fill whole bytes, so a multiple of {(bits == 3 ? 8 : 8 / bits)} columns is needed.");
    }

    private protected EncodedPartShape CodeShape(int bits) => new(EncodedPart.Codes, BlockFormats.I8, (long)Columns * bits / 8, Rows, Matrices);
}
