using System.Collections.Immutable;
using Nibble.Core.Formats;

namespace Nibble.Core.Encodings;

/// <summary>
/// Codes of 4 bits that a table of 16 numbers gives a meaning, with a scale for each block of values: NF4 and FP4 of bitsandbytes. w = table[code] x scale, in float32; where scales are codes
/// themselves (double quantization) scale = nested_table[code] x nested_scale + offset, each step rounded to float32.
/// </summary>
/// <remarks>Arithmetic: bitsandbytes 0.50.2, functional.dequantize_4bit with float32 output.</remarks>
/// <param name="Name">The tensor's name.</param>
/// <param name="Columns">Values in a row; even.</param>
/// <param name="Rows">Rows of one matrix.</param>
public sealed record TableEncoding(string Name, int Columns, int Rows) : TensorEncoding(Name, Columns, Rows)
{
    internal const string KindName = "table4";

    /// <summary>Values of NF4 by code: quantiles of a normal distribution, with an exact zero.</summary>
    /// <remarks>Dettmers et al., QLoRA, arXiv 2305.14314, appendix E.</remarks>
    public static ImmutableArray<float> NormalFloat { get; } =
    [
        -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f, -0.18477343022823334f, -0.09105003625154495f, 0.0f,
        0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f,
    ];

    /// <summary>Values of FP4 by code, as bitsandbytes 0.50.2 has them: the highest bit is the sign, but of the second zero.</summary>
    public static ImmutableArray<float> Float4 { get; } = [.. ((float[])[0, 0.0625f, 8, 12, 4, 6, 2, 3, 0, -0.0625f, -8, -12, -4, -6, -2, -3]).Select(value => value / 12)];

    /// <summary>Values that share a scale.</summary>
    public int Block { get; init; } = 64;

    /// <summary>Whether blocks are counted through a whole matrix, row after row, so that they may cross the ends of rows and the last may be short; otherwise they divide each row.</summary>
    public bool IsFlat { get; init; }

    /// <summary>How scales are stored: F32, F16 or BF16. With double quantization they are bytes, and this does not count.</summary>
    public BlockFormat ScaleFormat { get; init; } = BlockFormats.F32;

    /// <summary>Scales that share a nested scale, counted through a whole matrix; 0 without double quantization.</summary>
    public int NestedBlock { get; init; }

    /// <summary>What is added to a scale that double quantization decoded.</summary>
    public float NestedOffset { get; init; }

    /// <summary>What people call the table: <c>nf4</c>, <c>fp4</c> or <c>custom</c>. Reading goes by the stored table.</summary>
    public string TableName { get; init; } = "nf4";

    /// <inheritdoc/>
    public override string Kind => KindName;

    /// <inheritdoc/>
    public override int BitsPerCode => 4;

    /// <inheritdoc/>
    private protected override string OwnTitle => $"{TableName} b{Block}{(NestedBlock > 0 ? " double" : "")}";

    private long Blocks => IsFlat ? (((long)Columns * Rows) + Block - 1) / Block : (long)Columns / Block * Rows;

    private long NestedBlocks => (Blocks + NestedBlock - 1) / NestedBlock;

    internal static TableEncoding Read(string name, int columns, int rows, EncodingFields fields)
    {
        int nested = fields.Integer("nested_block", 0);
        return new TableEncoding(name, columns, rows)
        {
            TableName = fields.Text("table"),
            Block = fields.Integer("block"),
            IsFlat = fields.Flag("flat"),
            ScaleFormat = nested == 0 ? fields.Format("scales") : BlockFormats.F32,
            NestedBlock = nested,
            NestedOffset = nested > 0 ? fields.Number("nested_offset") : 0,
        };
    }

    /// <inheritdoc/>
    internal override void Decode(EncodedData data, long row, Span<float> values)
    {
        ReadOnlySpan<byte> codes = data.Row(EncodedPart.Codes, row);
        ReadOnlySpan<float> table = data.Row<float>(EncodedPart.Table, 0);
        ScaleReader scales = Scales(data, row);
        for (int start = 0; start < values.Length;)
        {
            int end = scales.End(start);
            float scale = scales.Of(start);
            for (int i = start; i < end; i++)
                values[i] = table[codes[i >> 1] >> (4 * (i & 1)) & 15] * scale;
            start = end;
        }
    }

    /// <summary>Reads the scales of a stored row.</summary>
    internal ScaleReader Scales(EncodedData data, long row) => new(this, data, row);

    /// <inheritdoc/>
    internal override int ScaleRun => RunOf(Block, IsFlat);

    /// <inheritdoc/>
    internal override void CopyCodes(EncodedData data, long row, Span<byte> codes) => CodeBits.Unpack(data.Row(EncodedPart.Codes, row), 4, codes);

    /// <inheritdoc/>
    internal override void CopyScales(EncodedData data, long row, Span<float> scales, Span<float> zeros)
    {
        ScaleReader reader = Scales(data, row);
        for (int i = 0; i < scales.Length; i++)
            scales[i] = reader.Of(i * ScaleRun);
        zeros.Clear();
    }

    private protected override IEnumerable<EncodedPartShape> OwnParts()
    {
        yield return CodeShape(4);
        BlockFormat format = NestedBlock > 0 ? BlockFormats.I8 : ScaleFormat;
        yield return IsFlat ? new(EncodedPart.Scales, format, Blocks, Matrices) : new(EncodedPart.Scales, format, Columns / Block, Rows, Matrices);
        yield return new(EncodedPart.Table, BlockFormats.F32, 16);
        if (NestedBlock == 0) yield break;
        yield return new(EncodedPart.NestedScales, BlockFormats.F32, NestedBlocks, Matrices);
        yield return new(EncodedPart.NestedTable, BlockFormats.F32, 256);
    }

    private protected override void CheckOwn()
    {
        CheckCodeBits(4);
        InBounds("block", Block, 1, int.MaxValue);
        InBounds("nested_block", NestedBlock, 0, int.MaxValue);
        if (!IsFlat && Columns % Block != 0)
            throw new ArgumentException($"{Name} has {Columns} columns, which blocks of {Block} do not divide; {GroupEncoding.Allowed(Columns)}, or count blocks through the whole matrix (flat).");
        if (NestedBlock == 0 && !Floats.Contains(ScaleFormat)) throw NoFloat("scales", ScaleFormat);
        if (TableName is not ("nf4" or "fp4" or "custom")) throw new ArgumentException($"the table of {Name} is called '{TableName}'; nf4, fp4 and custom are possible.");
        if (!float.IsFinite(NestedOffset)) throw new ArgumentException($"nested_offset of {Name} is {NestedOffset}; it must be finite.");
    }

    private protected override void WriteFields(EncodingText text)
    {
        text.Add("table", TableName);
        text.Add("block", Block);
        if (IsFlat) text.Add("flat");
        if (NestedBlock == 0)
        {
            text.Add("scales", ScaleFormat);
            return;
        }

        text.Add("nested_block", NestedBlock);
        text.Add("nested_offset", NestedOffset);
    }

    /// <summary>The scales of one row: of which block a value is, and its scale.</summary>
    internal readonly ref struct ScaleReader
    {
        private readonly TableEncoding _encoding;
        private readonly ScalarRow _scales;
        private readonly ReadOnlySpan<byte> _codes;
        private readonly ReadOnlySpan<float> _nestedScales, _nestedTable;
        private readonly long _first, _firstScale;

        public ScaleReader(TableEncoding encoding, EncodedData data, long row)
        {
            _encoding = encoding;
            long matrix = row / encoding.Rows, inMatrix = row % encoding.Rows;
            _first = encoding.IsFlat ? inMatrix * encoding.Columns : 0;
            ReadOnlySpan<byte> scales = data.Row(EncodedPart.Scales, encoding.IsFlat ? matrix : row);
            if (encoding.NestedBlock == 0)
            {
                _scales = new ScalarRow(encoding.ScaleFormat, scales);
                return;
            }

            _codes = scales;
            _firstScale = encoding.IsFlat ? 0 : inMatrix * (encoding.Columns / encoding.Block);
            _nestedScales = data.Row<float>(EncodedPart.NestedScales, matrix);
            _nestedTable = data.Row<float>(EncodedPart.NestedTable, 0);
        }

        /// <summary>Behind the last value of the row that shares the scale of this one.</summary>
        public int End(int column) => (int)Math.Min(_encoding.Columns, (((_first + column) / _encoding.Block) + 1) * _encoding.Block - _first);

        /// <summary>The scale of a value.</summary>
        public float Of(int column)
        {
            long block = (_first + column) / _encoding.Block;
            if (_encoding.NestedBlock == 0) return _scales[block];
            float scale = _nestedTable[_codes[(int)block]] * _nestedScales[(int)((_firstScale + block) / _encoding.NestedBlock)];
            return scale + _encoding.NestedOffset;
        }
    }
}
