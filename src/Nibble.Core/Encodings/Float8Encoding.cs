using System.Collections.Immutable;
using Nibble.Core.Formats;

namespace Nibble.Core.Encodings;

/// <summary>Floats of 8 bits (E4M3, without infinities) with a scale for each rectangle of values, 128 x 128 as DeepSeek-V3 has them. w = e4m3[code] x scale, in float32.</summary>
/// <remarks>E4M3: Micikevicius et al., FP8 Formats for Deep Learning, arXiv 2209.05433; scales: DeepSeek-V3 Technical Report, arXiv 2412.19437.</remarks>
/// <param name="Name">The tensor's name.</param>
/// <param name="Columns">Values in a row.</param>
/// <param name="Rows">Rows of one matrix.</param>
public sealed record Float8Encoding(string Name, int Columns, int Rows) : TensorEncoding(Name, Columns, Rows)
{
    internal const string KindName = "fp8";

    /// <summary>What the 256 codes stand for; 0x7F and 0xFF are NaN.</summary>
    public static ImmutableArray<float> Values { get; } = [.. Enumerable.Range(0, 256).Select(ValueOf)];

    /// <summary>Stored columns that share a scale.</summary>
    public int BlockColumns { get; init; } = 128;

    /// <summary>Stored rows that share a scale.</summary>
    public int BlockRows { get; init; } = 128;

    /// <summary>How scales are stored: F32, F16 or BF16.</summary>
    public BlockFormat ScaleFormat { get; init; } = BlockFormats.F32;

    /// <inheritdoc/>
    public override string Kind => KindName;

    /// <inheritdoc/>
    public override int BitsPerCode => 8;

    /// <inheritdoc/>
    private protected override string OwnTitle => $"fp8 {BlockColumns}x{BlockRows}";

    private long ScalesAcross => ((long)Columns + BlockColumns - 1) / BlockColumns;

    private long ScalesDown => ((long)Rows + BlockRows - 1) / BlockRows;

    internal static Float8Encoding Read(string name, int columns, int rows, EncodingFields fields) => new(name, columns, rows)
    {
        BlockColumns = fields.Integer("block_columns"),
        BlockRows = fields.Integer("block_rows"),
        ScaleFormat = fields.Format("scales"),
    };

    /// <summary>The scales of a stored row.</summary>
    internal ScalarRow Scales(EncodedData data, long row) =>
        new(ScaleFormat, data.Row(EncodedPart.Scales, (row / Rows * ScalesDown) + (row % Rows / BlockRows)));

    /// <inheritdoc/>
    internal override void Decode(EncodedData data, long row, Span<float> values)
    {
        ReadOnlySpan<byte> codes = data.Row(EncodedPart.Codes, row);
        ReadOnlySpan<float> table = Values.AsSpan();
        ScalarRow scales = Scales(data, row);
        for (int start = 0; start < values.Length; start += BlockColumns)
        {
            float scale = scales[start / BlockColumns];
            int end = (int)Math.Min(values.Length, (long)start + BlockColumns);
            for (int i = start; i < end; i++)
                values[i] = table[codes[i]] * scale;
            if (end == values.Length) break;
        }
    }

    /// <inheritdoc/>
    internal override int ScaleRun => RunOf(BlockColumns, false);

    /// <inheritdoc/>
    internal override void CopyCodes(EncodedData data, long row, Span<byte> codes) => data.Row(EncodedPart.Codes, row).CopyTo(codes);

    /// <inheritdoc/>
    internal override void CopyScales(EncodedData data, long row, Span<float> scales, Span<float> zeros)
    {
        ScalarRow reader = Scales(data, row);
        for (int i = 0; i < scales.Length; i++)
            scales[i] = reader[(long)i * ScaleRun / BlockColumns];
        zeros.Clear();
    }

    private protected override IEnumerable<EncodedPartShape> OwnParts()
    {
        yield return CodeShape(8);
        yield return new(EncodedPart.Scales, ScaleFormat, ScalesAcross, ScalesDown, Matrices);
    }

    private protected override void CheckOwn()
    {
        if (HasInputScale) throw new ArgumentException($"{Name} is {KindName} and has input_scale; its activations are multiplied in float32, and no scale of them is possible.");
        InBounds("block_columns", BlockColumns, 1, int.MaxValue);
        InBounds("block_rows", BlockRows, 1, int.MaxValue);
        if (!Floats.Contains(ScaleFormat)) throw NoFloat("scales", ScaleFormat);
    }

    private protected override void WriteFields(EncodingText text)
    {
        text.Add("block_columns", BlockColumns);
        text.Add("block_rows", BlockRows);
        text.Add("scales", ScaleFormat);
    }

    // A sign, 4 bits of exponent with bias 7, 3 bits of fraction; exponent 0 is subnormal.
    private static float ValueOf(int code)
    {
        int exponent = code >> 3 & 15, fraction = code & 7;
        if ((code & 127) == 127) return float.NaN;
        float magnitude = exponent == 0 ? fraction * MathF.Pow(2, -9) : (8 + fraction) * MathF.Pow(2, exponent - 10);
        return (code & 128) == 0 ? magnitude : -magnitude;
    }
}
