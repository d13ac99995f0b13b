using System.Runtime.InteropServices;
using Nibble.Core.Formats;

namespace Nibble.Core.Encodings;

/// <summary>
/// Signed bytes with the largest magnitude of their row: LLM.int8 of bitsandbytes. w = (code x scale) x (1 / 127), each product rounded to float32. Columns where activations are large may be
/// stored apart (<see cref="TensorEncoding.Outliers"/>).
/// </summary>
/// <remarks>Dettmers et al., LLM.int8(), arXiv 2208.07339; arithmetic: bitsandbytes 0.50.2, int8_vectorwise_dequant.</remarks>
/// <param name="Name">The tensor's name.</param>
/// <param name="Columns">Values in a row.</param>
/// <param name="Rows">Rows of one matrix.</param>
public sealed record Int8Encoding(string Name, int Columns, int Rows) : TensorEncoding(Name, Columns, Rows)
{
    internal const string KindName = "int8";

    /// <summary>What products of code and scale are multiplied by.</summary>
    public const float Factor = 1f / 127f;

    /// <summary>How scales are stored: F32, F16 or BF16.</summary>
    public BlockFormat ScaleFormat { get; init; } = BlockFormats.F32;

    /// <inheritdoc/>
    public override string Kind => KindName;

    /// <inheritdoc/>
    public override int BitsPerCode => 8;

    /// <inheritdoc/>
    private protected override string OwnTitle => Outliers > 0 ? "llm.int8 columns apart" : "llm.int8";

    internal static Int8Encoding Read(string name, int columns, int rows, EncodingFields fields) => new(name, columns, rows) { ScaleFormat = fields.Format("scales") };

    /// <summary>The scale of a stored row.</summary>
    internal float Scale(EncodedData data, long row) => new ScalarRow(ScaleFormat, data.Row(EncodedPart.Scales, row / Rows))[row % Rows];

    /// <inheritdoc/>
    internal override void Decode(EncodedData data, long row, Span<float> values)
    {
        ReadOnlySpan<sbyte> codes = MemoryMarshal.Cast<byte, sbyte>(data.Row(EncodedPart.Codes, row));
        float scale = Scale(data, row);
        for (int i = 0; i < values.Length; i++)
        {
            float product = codes[i] * scale;
            values[i] = product * Factor;
        }
    }

    /// <inheritdoc/>
    internal override int ScaleRun => Columns;

    /// <inheritdoc/>
    internal override void CopyCodes(EncodedData data, long row, Span<byte> codes)
    {
        data.Row(EncodedPart.Codes, row).CopyTo(codes);
        foreach (ref byte code in codes)
            code ^= 128;
    }

    /// <inheritdoc/>
    internal override void CopyScales(EncodedData data, long row, Span<float> scales, Span<float> zeros) => (scales[0], zeros[0]) = (Scale(data, row) * Factor, 128);

    private protected override IEnumerable<EncodedPartShape> OwnParts()
    {
        yield return CodeShape(8);
        yield return new(EncodedPart.Scales, ScaleFormat, Rows, Matrices);
    }

    private protected override void CheckOwn()
    {
        if (!Floats.Contains(ScaleFormat)) throw NoFloat("scales", ScaleFormat);
    }

    private protected override void WriteFields(EncodingText text) => text.Add("scales", ScaleFormat);
}
