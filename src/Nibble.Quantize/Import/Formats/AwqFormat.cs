using Nibble.Core.Encodings;
using Nibble.Core.Safetensors;

namespace Nibble.Quantize.Import.Formats;

/// <summary>AWQ's "gemm" layout: w[o, i] = scales[g, o] x (q - z), packed along outputs in an order of its own.</summary>
/// <remarks>Source: AutoAWQ 0.2.9, awq/modules/linear/gemm.py, and awq/utils/packing_utils.py for the order.</remarks>
internal sealed class AwqFormat : LayerFormat
{
    private const int PerWord = 8;

    private readonly int _group;

    /// <summary>Reads the configuration.</summary>
    public AwqFormat(JsonFields config)
    {
        string bits = config.Has("bits") ? "bits" : "w_bit", group = config.Has("group_size") ? "group_size" : "q_group_size";
        if (config.Integer(bits, 1, 32) != 4) throw config.Error(bits, "4 can be read");
        if (!string.Equals(config.FindText("version") ?? "gemm", "gemm", StringComparison.OrdinalIgnoreCase)) throw config.Error("version", "gemm can be read");
        _group = config.Integer(group, -1, 1 << 24);
        if (_group == 0) throw config.Error(group, "-1, or 1 or more, is needed");
    }

    // Output o of eight is in this nibble.
    private static ReadOnlySpan<byte> Nibbles => [0, 4, 1, 5, 2, 6, 3, 7];

    /// <inheritdoc/>
    public override string Rule => $"AWQ gemm, 4 bits, group {_group}: w = scale x (q - z), outputs of a word in the order 0 2 4 6 1 3 5 7";

    /// <inheritdoc/>
    public override bool Covers(CheckpointFolder folder, string source) => folder.Has(source + ".qweight");

    /// <inheritdoc/>
    public override string Marker => ".qweight";

    /// <inheritdoc/>
    public override LayerWeights Read(LayerRequest request)
    {
        int rows = request.Rows, columns = request.Columns, size = _group == -1 ? columns : _group, groups = (columns + size - 1) / size;
        SafetensorsTensor codes = request.Need(".qweight", [SafetensorsType.I32], columns, (rows + PerWord - 1) / PerWord);
        SafetensorsTensor zeros = request.Need(".qzeros", [SafetensorsType.I32], groups, (rows + PerWord - 1) / PerWord);
        SafetensorsTensor scales = request.Need(".scales", Floats, groups, rows);
        if (columns % size != 0) throw CheckpointFolder.Fault(scales, $"groups of {size} do not divide the {columns} inputs of '{request.Source}'");
        (GroupEncoding encoding, byte[]? zeroBytes) = WithZeros(
            new GroupEncoding(request.Name, columns, rows) { Bits = 4, Group = size, ScaleFormat = FloatRows.FormatOf(scales) },
            Unpack(zeros, rows, groups));
        return new EncodedWeights(encoding, () => Parts(Pack(Unpack(codes, rows, columns), 4), Transposed(scales), zeroBytes));
    }

    // Words [lines, rows / 8] into bytes [rows, lines].
    private static byte[] Unpack(SafetensorsTensor tensor, int rows, int lines)
    {
        ReadOnlySpan<uint> words = Words(tensor);
        int across = words.Length / lines;
        byte[] codes = new byte[(long)rows * lines];
        for (int line = 0; line < lines; line++)
            for (int row = 0; row < rows; row++)
                codes[((long)row * lines) + line] = (byte)((words[(line * across) + (row / PerWord)] >> (4 * Nibbles[row % PerWord])) & 15);
        return codes;
    }
}
