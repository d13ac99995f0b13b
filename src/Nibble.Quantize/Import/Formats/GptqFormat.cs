using Nibble.Core.Encodings;
using Nibble.Core.Safetensors;

namespace Nibble.Quantize.Import.Formats;

/// <summary>GPTQ as AutoGPTQ (<c>gptq</c>, version 1) and GPTQModel (<c>gptq_v2</c>) write it: w[o, i] = scales[g, o] x (q - z), with g = g_idx[i].</summary>
/// <remarks>
/// qweight [inputs x bits / 32, outputs] is packed along inputs, qzeros [groups, outputs x bits / 32] along outputs. Version 1 stores zeros less one. GPTQModel takes the one from whole words, so
/// that a zero of 0 borrows from its neighbour; AutoGPTQ's runtime adds it code by code, where 15 becomes 16. Sources: GPTQModel 7.7.0, gptqmodel/utils/model.py; AutoGPTQ 0.7.1, qlinear_cuda_old.py.
/// </remarks>
internal sealed class GptqFormat : LayerFormat
{
    private readonly int _bits;
    private readonly int? _group;
    private readonly bool _isVersion2;
    private readonly bool _addsToWords;
    private readonly bool _isSorted;

    /// <summary>Reads the configuration.</summary>
    public GptqFormat(JsonFields config)
    {
        _bits = config.Integer("bits", 1, 32);
        if (_bits is not (2 or 4 or 8)) throw config.Error("bits", "2, 4 and 8 can be read");
        if (!config.Has("dynamic"))
        {
            // -1 is one group for all inputs.
            int group = config.Integer("group_size", -1, 1 << 24);
            if (group == 0 || group < -1) throw config.Error("group_size", "-1, or 1 or more, is needed");
            _group = group;
        }

        string kind = config.FindText("checkpoint_format") ?? config.FindText("format") ?? "gptq";
        if (kind is not ("gptq" or "gptq_v2")) throw config.Error(config.Has("checkpoint_format") ? "checkpoint_format" : "format", "gptq and gptq_v2 can be read");
        if ((config.FindText("pack_dtype") ?? "int32") != "int32") throw config.Error("pack_dtype", "int32 is needed");
        _isVersion2 = kind == "gptq_v2";
        _isSorted = config.Flag("desc_act", false);
        _addsToWords = config.Flag("sym", true) || IsByGptqModel(config.FindObject("meta"));
    }

    /// <inheritdoc/>
    public override string Rule =>
        $"GPTQ version {(_isVersion2 ? 2 : 1)}, {_bits} bits{(_group is > 0 ? $", group {_group}" : string.Empty)}: w = scale x (q - z), z = "
        + (_isVersion2 ? "qzeros" : _addsToWords ? "qzeros + 1, added to whole words (GPTQModel's rule)" : "qzeros + 1, added code by code (AutoGPTQ's rule: no GPTQModel wrote this checkpoint)");

    private int PerWord => 32 / _bits;

    /// <inheritdoc/>
    public override bool Covers(CheckpointFolder folder, string source) => folder.Has(source + ".qweight");

    /// <inheritdoc/>
    public override string Marker => ".qweight";

    /// <inheritdoc/>
    public override LayerWeights Read(LayerRequest request)
    {
        int rows = request.Rows, columns = request.Columns;
        SafetensorsTensor codes = request.Need(".qweight", [SafetensorsType.I32], columns / PerWord, rows);
        SafetensorsTensor scales = request.Folder.Need(request.Source + ".scales", request.Meaning);
        int groups = Groups(request, scales);
        SafetensorsTensor zeros = request.Need(".qzeros", [SafetensorsType.I32], groups, (rows + PerWord - 1) / PerWord);
        int[]? order = null;
        // Without it columns in an order of their own would be taken for runs.
        if (_isSorted || request.Has(".g_idx")) order = ColumnGroups.Order(request.Need(".g_idx", [SafetensorsType.I32], columns), groups);
        (GroupEncoding encoding, byte[]? zeroBytes) = WithZeros(
            new GroupEncoding(request.Name, columns, rows) { Bits = _bits, Group = columns / groups, ScaleFormat = FloatRows.FormatOf(scales), HasColumnOrder = order is not null },
            Zeros(zeros, rows, groups));
        return new EncodedWeights(encoding, () => Parts(Pack(Codes(codes, rows, columns, order), _bits), Transposed(scales), zeroBytes, order));
    }

    private static bool IsByGptqModel(JsonFields? meta)
    {
        if (meta?.Find("quantizer") is not { } quantizer) return false;
        return quantizer.GetRawText().Contains("gptqmodel", StringComparison.OrdinalIgnoreCase);
    }

    private int Groups(LayerRequest request, SafetensorsTensor scales)
    {
        int columns = request.Columns;
        // With overrides by layer the shape of the scales tells.
        long groups = _group is { } size ? (size == -1 ? 1 : (columns + size - 1) / size) : scales.Shape is [var first, _] ? first : 0;
        request.Need(".scales", Floats, groups, request.Rows);
        if (groups < 1 || columns % groups != 0 || (_group is > 0 && columns % _group != 0))
            throw CheckpointFolder.Fault(scales, $"groups of {_group} do not divide the {columns} inputs of '{request.Source}'");
        return (int)groups;
    }

    private byte[] Zeros(SafetensorsTensor tensor, int rows, int groups)
    {
        uint mask = (1u << _bits) - 1, ones = _bits == 2 ? 0x55555555u : _bits == 4 ? 0x11111111u : 0x01010101u;
        ReadOnlySpan<uint> words = Words(tensor);
        int wordsAcross = words.Length / groups;
        byte[] zeros = new byte[(long)rows * groups];
        for (int group = 0; group < groups; group++)
            for (int row = 0; row < rows; row++)
            {
                uint word = words[(group * wordsAcross) + (row / PerWord)];
                if (!_isVersion2 && _addsToWords) word = unchecked(word + ones);
                uint zero = (word >> (_bits * (row % PerWord))) & mask;
                if (!_isVersion2 && !_addsToWords) zero++;
                if (zero > 255) throw CheckpointFolder.Fault(tensor, $"the zero of output {row} in group {group} is {zero}, and at most 255 can be stored");
                zeros[(row * groups) + group] = (byte)zero;
            }

        return zeros;
    }

    private byte[] Codes(SafetensorsTensor tensor, int rows, int columns, int[]? order)
    {
        uint mask = (1u << _bits) - 1;
        ReadOnlySpan<uint> words = Words(tensor);
        byte[] codes = new byte[(long)rows * columns];
        for (int place = 0; place < columns; place++)
        {
            int column = order is null ? place : order[place], shift = _bits * (column % PerWord);
            ReadOnlySpan<uint> line = words.Slice(column / PerWord * rows, rows);
            for (int row = 0; row < rows; row++) codes[((long)row * columns) + place] = (byte)((line[row] >> shift) & mask);
        }

        return codes;
    }
}
