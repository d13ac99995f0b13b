using System.Text.Json;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;
using Nibble.Core.Safetensors;

namespace Nibble.Quantize.Import.Formats;

/// <summary>bitsandbytes: NF4 and FP4 by a table with a scale for each block, whose scales may be quantized in turn; and LLM.int8.</summary>
/// <remarks>Source: bitsandbytes 0.50.2, functional.py (QuantState.from_dict, dequantize_4bit) and nn/modules.py (Int8Params).</remarks>
internal sealed class BitsAndBytesFormat : LayerFormat
{
    private const string StatePrefix = ".weight.quant_state.bitsandbytes__";

    private readonly bool _isInt8;
    private readonly string _kind;
    private readonly bool _isDouble; // for the rule that is told; each matrix tells for itself

    /// <summary>Reads the configuration.</summary>
    public BitsAndBytesFormat(JsonFields config)
    {
        _isInt8 = config.Flag("load_in_8bit", config.Flag("_load_in_8bit", false));
        bool isFour = config.Flag("load_in_4bit", config.Flag("_load_in_4bit", false));
        if (_isInt8 == isFour) throw config.Error("load_in_4bit", "either load_in_4bit or load_in_8bit must be true");
        _kind = config.FindText("bnb_4bit_quant_type") ?? "nf4";
        _isDouble = config.Flag("bnb_4bit_use_double_quant", false);
    }

    /// <inheritdoc/>
    public override string Rule => _isInt8
        ? "bitsandbytes LLM.int8: w = code x SCB x (1 / 127), in this order"
        : $"bitsandbytes 4 bits: w = quant_map[code] x absmax, the high nibble first{(_isDouble ? "; absmax = nested_quant_map[absmax] x nested_absmax + nested_offset" : string.Empty)}";

    /// <inheritdoc/>
    public override bool Covers(CheckpointFolder folder, string source) => folder.Has(source + (_isInt8 ? ".SCB" : ".weight.absmax"));

    /// <inheritdoc/>
    public override string Marker => _isInt8 ? ".SCB" : ".weight.absmax";

    /// <inheritdoc/>
    public override LayerWeights Read(LayerRequest request) => _isInt8 ? ReadInt8(request) : ReadTable(request);

    private static EncodedWeights ReadInt8(LayerRequest request)
    {
        SafetensorsTensor codes = request.Need(".weight", [SafetensorsType.I8], request.Rows, request.Columns);
        SafetensorsTensor scales = request.Need(".SCB", [SafetensorsType.F32], request.Rows);
        if (request.Has(".weight_format"))
        {
            SafetensorsTensor order = request.Need(".weight_format", [SafetensorsType.U8]);
            if (order.Bytes()[0] != 0) throw CheckpointFolder.Fault(order, $"it is {order.Bytes()[0]}, and only 0, rows as they are, can be read");
        }

        return new EncodedWeights(new Int8Encoding(request.Name, request.Columns, request.Rows), () => Parts(codes.Bytes().ToArray(), scales.Bytes().ToArray()));
    }

    private EncodedWeights ReadTable(LayerRequest request)
    {
        int rows = request.Rows, columns = request.Columns;
        string kind = request.Has(StatePrefix + "nf4") ? "nf4" : request.Has(StatePrefix + "fp4") ? "fp4" : throw request.Folder.Missing(request.Source + StatePrefix + _kind, $"the state of a matrix in 4 bits, nf4 or fp4: {request.Meaning}");
        SafetensorsTensor stateTensor = request.Folder.Need(request.Source + StatePrefix + kind, request.Meaning);
        if (stateTensor.Type != SafetensorsType.U8 || stateTensor.ByteLength > 1 << 16) throw CheckpointFolder.Fault(stateTensor, "U8 of at most 65536 bytes is needed");
        JsonFields state = JsonFields.Parse($"{stateTensor.FileName}: tensor '{stateTensor.Name}'", stateTensor.Bytes().ToArray());
        if (state.Text("quant_type") != kind) throw state.Error("quant_type", $"'{kind}' is needed, as the tensor's name says");
        int block = state.Integer("blocksize", 2, 1 << 20);
        long[] shape = [.. state.Elements("shape").Select(element => element.ValueKind == JsonValueKind.Number && element.TryGetInt64(out long extent) ? extent : -1)];
        if (!shape.SequenceEqual([rows, columns])) throw state.Error("shape", $"[{rows}, {columns}] is needed ({request.Meaning})");
        if (columns % 2 != 0) throw state.Error("shape", "an even number of columns is needed: a byte holds two codes of a row");

        SafetensorsTensor codes = request.Folder.Need(request.Source + ".weight", request.Meaning);
        long bytes = (long)rows * columns / 2, blocks = (((long)rows * columns) + block - 1) / block;
        // The bytes may be dressed as another type (bnb_4bit_quant_storage).
        if (codes.ByteLength != bytes) throw CheckpointFolder.Fault(codes, $"{bytes} bytes are needed for [{rows}, {columns}] in 4 bits");
        SafetensorsTensor table = request.Need(".weight.quant_map", [SafetensorsType.F32], 16);
        bool isDouble = request.Has(".weight.nested_absmax") || request.Folder.Find(request.Source + ".weight.absmax")?.Type == SafetensorsType.U8;
        SafetensorsTensor scales = request.Need(".weight.absmax", isDouble ? [SafetensorsType.U8] : [SafetensorsType.F32], blocks);
        TableEncoding encoding = new(request.Name, columns, rows) { TableName = kind, Block = block, IsFlat = columns % block != 0, ScaleFormat = BlockFormats.F32 };
        SafetensorsTensor? nested = null, nestedTable = null;
        if (isDouble)
        {
            int nestedBlock = state.Integer("nested_blocksize", 1, 1 << 20);
            nested = request.Need(".weight.nested_absmax", [SafetensorsType.F32], (blocks + nestedBlock - 1) / nestedBlock);
            nestedTable = request.Need(".weight.nested_quant_map", [SafetensorsType.F32], 256);
            encoding = encoding with { NestedBlock = nestedBlock, NestedOffset = (float)state.Number("nested_offset") };
        }

        return new EncodedWeights(encoding, () =>
        {
            // Here the low nibble comes first.
            byte[] swapped = codes.Bytes().ToArray();
            foreach (ref byte value in swapped.AsSpan()) value = (byte)((value >> 4) | (value << 4));
            Dictionary<EncodedPart, byte[]> parts = Parts(swapped, scales.Bytes().ToArray());
            parts.Add(EncodedPart.Table, table.Bytes().ToArray());
            if (nested is not null) parts.Add(EncodedPart.NestedScales, nested.Bytes().ToArray());
            if (nestedTable is not null) parts.Add(EncodedPart.NestedTable, nestedTable.Bytes().ToArray());
            return parts;
        });
    }
}
