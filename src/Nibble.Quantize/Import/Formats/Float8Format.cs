using Nibble.Core.Encodings;
using Nibble.Core.Safetensors;

namespace Nibble.Quantize.Import.Formats;

/// <summary>Floats of 8 bits with a scale for each block of outputs x inputs, as DeepSeek-V3 has them: w = e4m3[code] x weight_scale_inv[o / rows of a block, i / columns of a block].</summary>
/// <remarks>Source: transformers 5.23, integrations/finegrained_fp8.py.</remarks>
internal sealed class Float8Format : LayerFormat
{
    private readonly int _rows, _columns;

    /// <summary>Reads the configuration.</summary>
    public Float8Format(JsonFields config)
    {
        int[] block = [.. config.Elements("weight_block_size").Select(element => element.ValueKind == System.Text.Json.JsonValueKind.Number && element.TryGetInt32(out int size) && size > 0 ? size : 0)];
        if (block.Length != 2 || block.Contains(0)) throw config.Error("weight_block_size", "two numbers, outputs and inputs of a block, are needed");
        (_rows, _columns) = (block[0], block[1]);
        if ((config.FindText("activation_scheme") ?? "dynamic") != "dynamic") throw config.Error("activation_scheme", "'dynamic' is needed");
    }

    /// <inheritdoc/>
    public override string Rule => $"fp8: w = e4m3[code] x weight_scale_inv, one for {_rows} x {_columns} weights";

    /// <inheritdoc/>
    public override bool Covers(CheckpointFolder folder, string source) => folder.Has(source + ".weight_scale_inv");

    /// <inheritdoc/>
    public override string Marker => ".weight_scale_inv";

    /// <inheritdoc/>
    public override LayerWeights Read(LayerRequest request)
    {
        int rows = request.Rows, columns = request.Columns;
        SafetensorsTensor codes = request.Need(".weight", [SafetensorsType.F8E4M3], rows, columns);
        SafetensorsTensor scales = request.Need(".weight_scale_inv", Floats, (rows + _rows - 1) / _rows, (columns + _columns - 1) / _columns);
        Float8Encoding encoding = new(request.Name, columns, rows) { BlockColumns = _columns, BlockRows = _rows, ScaleFormat = FloatRows.FormatOf(scales) };
        return new EncodedWeights(encoding, () =>
        {
            int nan = codes.Bytes().IndexOfAny((byte)0x7F, (byte)0xFF);
            if (nan >= 0) throw CheckpointFolder.Fault(codes, $"output {nan / columns}, input {nan % columns} is not a number");
            return Parts(codes.Bytes().ToArray(), scales.Bytes().ToArray());
        });
    }
}
