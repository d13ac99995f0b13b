using System.Buffers;
using System.Globalization;
using Nibble.Core.Formats;

namespace Nibble.Core.Encodings;

/// <summary>
/// Whole numbers of 2, 3, 4 or 8 bits with a scale, and a zero of its own or for all, for each group of values: GPTQ, AWQ, compressed-tensors and HQQ. w = scale x (code - zero), the difference
/// and the product each rounded to float32 (the difference is exact where zeros are whole).
/// </summary>
/// <remarks>Signed codes are stored with 2^(bits - 1) added, and <see cref="Zero"/> is 2^(bits - 1).</remarks>
/// <param name="Name">The tensor's name.</param>
/// <param name="Columns">Values in a row; codes of a row fill whole bytes.</param>
/// <param name="Rows">Rows of one matrix.</param>
public sealed record GroupEncoding(string Name, int Columns, int Rows) : TensorEncoding(Name, Columns, Rows)
{
    internal const string KindName = "group";

    private static readonly int[] s_usual = [32, 64, 128];

    /// <summary>Bits of a code: 2, 3, 4 or 8.</summary>
    public int Bits { get; init; } = 4;

    /// <summary>Values that share a scale: a divisor of the columns. The columns themselves are one scale a row.</summary>
    public int Group { get; init; } = 128;

    /// <summary>Whether groups are counted through a whole matrix, row after row, so that they may cross the ends of rows.</summary>
    public bool IsFlat { get; init; }

    /// <summary>How scales are stored: F32, F16 or BF16.</summary>
    public BlockFormat ScaleFormat { get; init; } = BlockFormats.F16;

    /// <summary>How a group's own zero is stored: I8 for whole ones of 0 to 255, F32, F16 or BF16 for any; null where all have <see cref="Zero"/>.</summary>
    public BlockFormat? ZeroFormat { get; init; }

    /// <summary>The zero of all groups, 0 to 2^bits, where they have none of their own.</summary>
    public int Zero { get; init; }

    /// <inheritdoc/>
    public override string Kind => KindName;

    /// <inheritdoc/>
    public override int BitsPerCode => Bits;

    /// <inheritdoc/>
    private protected override string OwnTitle => $"int{Bits} {(Group == Columns && !IsFlat ? "row" : $"g{Group}")}{(ZeroFormat is null ? "" : " zeros")}";

    private long Groups => (((long)Columns * Rows) + Group - 1) / Group;

    /// <summary>What may be asked for instead of a group that does not divide the columns.</summary>
    public static string Allowed(int columns)
    {
        string[] divisors = [.. s_usual.Where(group => columns % group == 0).Select(group => group.ToString(CultureInfo.InvariantCulture))];
        return divisors.Length == 0 ? $"only the whole row ({columns}) is possible" : $"{string.Join(", ", divisors)} and the whole row ({columns}) are possible";
    }

    internal static GroupEncoding Read(string name, int columns, int rows, EncodingFields fields) => new(name, columns, rows)
    {
        Bits = fields.Integer("bits"),
        Group = fields.Integer("group"),
        IsFlat = fields.Flag("flat"),
        ScaleFormat = fields.Format("scales"),
        ZeroFormat = fields.Has("zeros") ? fields.Format("zeros") : null,
        Zero = fields.Integer("zero", 0),
    };

    /// <inheritdoc/>
    internal override void Decode(EncodedData data, long row, Span<float> values)
    {
        byte[] codes = ArrayPool<byte>.Shared.Rent(Columns);
        CodeBits.Unpack(data.Row(EncodedPart.Codes, row), Bits, codes.AsSpan(0, Columns));
        GroupReader groups = Reader(data, row);
        for (int start = 0; start < values.Length;)
        {
            int end = groups.End(start);
            (float scale, float zero) = groups.Of(start);
            for (int i = start; i < end; i++)
                values[i] = scale * (codes[i] - zero);
            start = end;
        }

        ArrayPool<byte>.Shared.Return(codes);
    }

    /// <summary>Reads scales and zeros of a stored row.</summary>
    internal GroupReader Reader(EncodedData data, long row) => new(this, data, row);

    /// <inheritdoc/>
    internal override int ScaleRun => RunOf(Group, IsFlat);

    /// <inheritdoc/>
    internal override void CopyCodes(EncodedData data, long row, Span<byte> codes) => CodeBits.Unpack(data.Row(EncodedPart.Codes, row), Bits, codes);

    /// <inheritdoc/>
    internal override void CopyScales(EncodedData data, long row, Span<float> scales, Span<float> zeros)
    {
        GroupReader reader = Reader(data, row);
        for (int i = 0; i < scales.Length; i++)
            (scales[i], zeros[i]) = reader.Of(i * ScaleRun);
    }

    private protected override IEnumerable<EncodedPartShape> OwnParts()
    {
        yield return CodeShape(Bits);
        yield return Scalars(EncodedPart.Scales, ScaleFormat);
        if (ZeroFormat is not null) yield return Scalars(EncodedPart.Zeros, ZeroFormat);
    }

    private protected override void CheckOwn()
    {
        if (Bits is not (2 or 3 or 4 or 8)) throw new ArgumentException($"codes of {Name} have {Bits} bits; 2, 3, 4 and 8 are possible.");
        CheckCodeBits(Bits);
        InBounds("group", Group, 1, int.MaxValue);
        if (!IsFlat && Columns % Group != 0) throw new ArgumentException($"{Name} has {Columns} columns, which groups of {Group} do not divide; {Allowed(Columns)}.");
        if (!Floats.Contains(ScaleFormat)) throw NoFloat("scales", ScaleFormat);
        if (ZeroFormat is not null && ZeroFormat != BlockFormats.I8 && !Floats.Contains(ZeroFormat))
            throw new ArgumentException($"zeros of {Name} are {ZeroFormat}; I8, {string.Join(", ", Floats.Select(one => one.Name))} are possible.");
        InBounds("zero", Zero, 0, ZeroFormat is null ? 1 << Bits : 0);
    }

    private protected override void WriteFields(EncodingText text)
    {
        text.Add("bits", Bits);
        text.Add("group", Group);
        if (IsFlat) text.Add("flat");
        text.Add("scales", ScaleFormat);
        if (ZeroFormat is not null) text.Add("zeros", ZeroFormat);
        else text.Add("zero", Zero);
    }

    private EncodedPartShape Scalars(EncodedPart part, BlockFormat format) =>
        IsFlat ? new(part, format, Groups, Matrices) : new(part, format, Columns / Group, Rows, Matrices);

    /// <summary>Scales and zeros of one row.</summary>
    internal readonly ref struct GroupReader
    {
        private readonly GroupEncoding _encoding;
        private readonly ScalarRow _scales, _zeros;
        private readonly long _first;

        public GroupReader(GroupEncoding encoding, EncodedData data, long row)
        {
            _encoding = encoding;
            _first = encoding.IsFlat ? row % encoding.Rows * encoding.Columns : 0;
            long scalars = encoding.IsFlat ? row / encoding.Rows : row;
            _scales = new ScalarRow(encoding.ScaleFormat, data.Row(EncodedPart.Scales, scalars));
            if (encoding.ZeroFormat is { } zeros) _zeros = new ScalarRow(zeros, data.Row(EncodedPart.Zeros, scalars));
        }

        /// <summary>Behind the last value of the row that shares the scale of this one.</summary>
        public int End(int column) => (int)Math.Min(_encoding.Columns, (((_first + column) / _encoding.Group) + 1) * _encoding.Group - _first);

        /// <summary>Scale and zero of a value.</summary>
        public (float Scale, float Zero) Of(int column)
        {
            long group = (_first + column) / _encoding.Group;
            return (_scales[group], _encoding.ZeroFormat is null ? _encoding.Zero : _zeros[group]);
        }
    }
}
