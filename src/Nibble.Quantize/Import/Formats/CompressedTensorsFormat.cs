using System.Runtime.InteropServices;
using System.Text.Json;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;
using Nibble.Core.Safetensors;

namespace Nibble.Quantize.Import.Formats;

/// <summary>compressed-tensors (llm-compressor): <c>pack-quantized</c>, <c>int-quantized</c> and <c>mxfp4-pack-quantized</c>.</summary>
/// <remarks>Source: compressed-tensors 0.20.0, compressors/quantized_compressors.</remarks>
internal sealed class CompressedTensorsFormat : LayerFormat
{
    private static readonly string[] s_formats = ["pack-quantized", "int-quantized", "mxfp4-pack-quantized"];

    private readonly string _format;

    // What all groups of layers have; where groups differ, a layer's tensors tell.
    private readonly bool _hasZeros, _hasOrder;

    /// <summary>Reads the configuration.</summary>
    public CompressedTensorsFormat(JsonFields config)
    {
        _format = config.Text("format");
        if (!s_formats.Contains(_format)) throw config.Error("format", $"{string.Join(", ", s_formats)} can be read");
        List<JsonFields> weights = [.. Weights(config.FindObject("config_groups"))];
        int[] bits = _format switch { "pack-quantized" => [4, 8], "int-quantized" => [8], _ => [4] };
        foreach (JsonFields group in weights)
            if (group.FindInteger("num_bits", 1, 32) is { } number && !bits.Contains(number)) throw group.Error("num_bits", $"{string.Join(" and ", bits)} can be read of {_format}");
        _hasZeros = weights.Count > 0 && weights.TrueForAll(group => !group.Flag("symmetric", true));
        _hasOrder = weights.Count > 0 && weights.TrueForAll(group => group.Find("actorder") is { } order && (order.ValueKind == JsonValueKind.True || (order.ValueKind == JsonValueKind.String && order.ValueEquals("group"))));
        string status = config.FindText("quantization_status") ?? "compressed";
        if (status != "compressed") throw config.Error("quantization_status", "'compressed' is needed");
        if (config.FindObject("transform_config") is { } transforms && transforms.All.Any(one => one.Value.ValueKind != JsonValueKind.Null && one.Value.GetRawText() is not ("{}" or "[]")))
            throw config.Error("transform_config", "weights that were rotated cannot be imported");
    }

    /// <inheritdoc/>
    public override string Rule => _format switch
    {
        "pack-quantized" => "compressed-tensors pack-quantized: w = weight_scale x (n - z), z the middle of the codes or weight_zero_point",
        "int-quantized" => "compressed-tensors int-quantized: w = code x weight_scale, one scale a row",
        _ => "compressed-tensors mxfp4: w = e2m1[code] x 2^(weight_scale - 127), regrouped into GGUF's MXFP4",
    };

    /// <inheritdoc/>
    public override bool Covers(CheckpointFolder folder, string source) => folder.Has(source + ".weight_packed") || folder.Has(source + ".weight_scale");

    /// <inheritdoc/>
    public override string Marker => _format == "int-quantized" ? ".weight_scale" : ".weight_packed";

    /// <inheritdoc/>
    public override LayerWeights Read(LayerRequest request) => _format switch
    {
        "pack-quantized" => ReadPacked(request),
        "int-quantized" => ReadBytes(request),
        _ => ReadMxfp4(request),
    };

    private static IEnumerable<JsonFields> Weights(JsonFields? groups) =>
        groups is null ? [] : groups.All.Select(one => groups.Object(one.Key).FindObject("weights")).OfType<JsonFields>();

    private EncodedWeights ReadPacked(LayerRequest request)
    {
        int rows = request.Rows, columns = request.Columns;
        SafetensorsTensor shape = request.Need(".weight_shape", [SafetensorsType.I64], 2);
        ReadOnlySpan<long> extents = MemoryMarshal.Cast<byte, long>(shape.Bytes());
        if (!extents.SequenceEqual([rows, columns])) throw CheckpointFolder.Fault(shape, $"it holds {SafetensorsTensor.Text(extents)}, and [{rows}, {columns}] is needed ({request.Meaning})");
        SafetensorsTensor codes = request.Folder.Need(request.Source + ".weight_packed", request.Meaning);
        // Bits of a code are told by how many words a row has.
        int bits = codes.Shape is [_, var words] && words == (columns + 3) / 4 ? 8 : 4, perWord = 32 / bits;
        request.Need(".weight_packed", [SafetensorsType.I32], rows, (columns + perWord - 1) / perWord);
        SafetensorsTensor scales = Scales(request, out int groups);
        int[]? order = null;
        if (_hasOrder || request.Has(".weight_g_idx"))
        {
            SafetensorsTensor indices = request.Need(".weight_g_idx", [SafetensorsType.I32], columns);
            // -1 stands for an order that was never set.
            if (!MemoryMarshal.Cast<byte, int>(indices.Bytes()).Contains(-1)) order = ColumnGroups.Order(indices, groups);
        }

        GroupEncoding encoding = new(request.Name, columns, rows)
        {
            Bits = bits, Group = columns / groups, ScaleFormat = FloatRows.FormatOf(scales), Zero = 1 << (bits - 1), HasColumnOrder = order is not null,
        };
        byte[]? zeros = null;
        if (_hasZeros || request.Has(".weight_zero_point"))
            (encoding, zeros) = WithZeros(encoding with { Zero = 0 }, Zeros(request.Need(".weight_zero_point", [SafetensorsType.I32], (rows + perWord - 1) / perWord, groups), rows, groups, bits));
        return new EncodedWeights(encoding, () => Parts(Pack(Codes(codes, rows, columns, bits, order), bits), scales.Bytes().ToArray(), zeros, order));
    }

    private static SafetensorsTensor Scales(LayerRequest request, out int groups)
    {
        SafetensorsTensor scales = request.Folder.Need(request.Source + ".weight_scale", request.Meaning);
        long across = scales.Shape is [_, var second] ? second : 0;
        if (across < 1 || request.Columns % across != 0) throw CheckpointFolder.Fault(scales, $"[{request.Rows}, groups] is needed, with groups that divide the {request.Columns} inputs");
        groups = (int)across;
        return request.Need(".weight_scale", Floats, request.Rows, groups);
    }

    // Packed along the inputs in their order.
    private static byte[] Codes(SafetensorsTensor tensor, int rows, int columns, int bits, int[]? order)
    {
        int perWord = 32 / bits;
        uint mask = (1u << bits) - 1;
        ReadOnlySpan<uint> words = Words(tensor);
        int across = words.Length / rows;
        byte[] codes = new byte[(long)rows * columns];
        for (int row = 0; row < rows; row++)
            for (int place = 0; place < columns; place++)
            {
                int column = order is null ? place : order[place];
                codes[((long)row * columns) + place] = (byte)((words[(row * across) + (column / perWord)] >> (bits * (column % perWord))) & mask);
            }

        return codes;
    }

    // Packed along the outputs.
    private static byte[] Zeros(SafetensorsTensor tensor, int rows, int groups, int bits)
    {
        int perWord = 32 / bits;
        uint mask = (1u << bits) - 1;
        ReadOnlySpan<uint> words = Words(tensor);
        byte[] zeros = new byte[(long)rows * groups];
        for (int row = 0; row < rows; row++)
            for (int group = 0; group < groups; group++)
                zeros[(row * groups) + group] = (byte)((words[(row / perWord * groups) + group] >> (bits * (row % perWord))) & mask);
        return zeros;
    }

    private EncodedWeights ReadBytes(LayerRequest request)
    {
        SafetensorsTensor codes = request.Need(".weight", [SafetensorsType.I8], request.Rows, request.Columns);
        SafetensorsTensor scales = Scales(request, out int groups);
        if (_hasZeros || request.Has(".weight_zero_point"))
        {
            SafetensorsTensor zeros = request.Need(".weight_zero_point", [SafetensorsType.I8], request.Rows, groups);
            if (zeros.Bytes().ContainsAnyExcept((byte)0)) throw CheckpointFolder.Fault(zeros, "all must be 0: bytes with zero points cannot be imported");
        }

        GroupEncoding encoding = new(request.Name, request.Columns, request.Rows) { Bits = 8, Group = request.Columns / groups, ScaleFormat = FloatRows.FormatOf(scales), Zero = 128 };
        return new EncodedWeights(encoding, () =>
        {
            byte[] shifted = codes.Bytes().ToArray();
            foreach (ref byte value in shifted.AsSpan()) value ^= 128;
            return Parts(shifted, scales.Bytes().ToArray());
        });
    }

    private static BlockWeights ReadMxfp4(LayerRequest request)
    {
        int columns = request.Columns, groups = columns / 32;
        if (columns % 32 != 0) throw new ImportException(request.Folder.WeightsFile, $"'{request.Source}' has {columns} inputs; MXFP4 needs a multiple of 32.");
        SafetensorsTensor codes = request.Need(".weight_packed", [SafetensorsType.U8], request.Rows, columns / 2);
        SafetensorsTensor scales = request.Need(".weight_scale", [SafetensorsType.U8], request.Rows, groups);
        return new BlockWeights(BlockFormats.MXFP4, (row, blocks) =>
        {
            ReadOnlySpan<byte> from = codes.Bytes((long)row * columns / 2, columns / 2), exponents = scales.Bytes((long)row * groups, groups);
            for (int group = 0; group < groups; group++)
            {
                // 255 is NaN in the standard; GGUF's readers take it for a power of two.
                if (exponents[group] == 255) throw CheckpointFolder.Fault(scales, $"the scale of output {row} in group {group} is 255, which stands for NaN; 0 to 254 can be stored");
                Span<byte> block = blocks.Slice(group * 17, 17);
                ReadOnlySpan<byte> pairs = from.Slice(group * 16, 16);
                block[0] = exponents[group];
                // Neighbours share a byte there, values 16 apart here.
                for (int j = 0; j < 16; j++)
                {
                    int low = pairs[j >> 1] >> (4 * (j & 1)) & 15, high = pairs[8 + (j >> 1)] >> (4 * (j & 1)) & 15;
                    block[1 + j] = (byte)(low | (high << 4));
                }
            }
        });
    }
}
