using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using Nibble.Core.Encodings;
using Nibble.Core.Safetensors;

namespace Nibble.Quantize.Import.Formats;

/// <summary>HQQ in 4 bits along the inputs: w.flat[g r + k] = (q[r, k] - zero[r]) x scale[r]. Groups of the first half of the matrix are high nibbles, those of the second half low ones.</summary>
/// <remarks>Source: hqq 0.2.8, hqq/core/quantize.py (dequantize) and hqq/core/bitpack.py (unpack_4bit_u8). Texts in tensors are compared, never evaluated.</remarks>
internal sealed class HqqFormat : LayerFormat
{
    private readonly int _group;

    /// <summary>Reads the configuration.</summary>
    public HqqFormat(JsonFields config)
    {
        JsonFields weights = config.Object("quant_config").Object("weight_quant_params");
        if (weights.Integer("nbits", 1, 32) != 4) throw weights.Error("nbits", "4 can be read");
        _group = weights.Integer("group_size", 1, 1 << 24);
        if (weights.Integer("axis", 0, 1, 1) != 1) throw weights.Error("axis", "1 can be read");
        if (weights.Flag("view_as_float", false)) throw weights.Error("view_as_float", "false is needed");
        foreach (string name in (ReadOnlySpan<string>)["scale_quant_params", "zero_quant_params"])
            if (config.Object("quant_config").Has(name)) throw config.Object("quant_config").Error(name, "null is needed: scales and zeros that are quantized in turn cannot be read");
    }

    /// <inheritdoc/>
    public override string Rule => $"HQQ, 4 bits, group {_group}: w = (q - zero) x scale, zeros are floats";

    /// <inheritdoc/>
    public override bool Covers(CheckpointFolder folder, string source) => folder.Has(source + ".W_q");

    /// <inheritdoc/>
    public override string Marker => ".W_q";

    /// <inheritdoc/>
    public override LayerWeights Read(LayerRequest request)
    {
        int rows = request.Rows, columns = request.Columns;
        SafetensorsTensor shape = request.Need(".shape", [SafetensorsType.I64], 2);
        ReadOnlySpan<long> extents = MemoryMarshal.Cast<byte, long>(shape.Bytes());
        if (!extents.SequenceEqual([rows, columns])) throw CheckpointFolder.Fault(shape, $"it holds {SafetensorsTensor.Text(extents)}, and [{rows}, {columns}] is needed ({request.Meaning})");
        long values = (long)rows * columns, groups = values / _group;
        if (values % (2L * _group) != 0) throw CheckpointFolder.Fault(shape, $"groups of {_group}, an even number of them, must make up its {values} values");
        CheckNumber(request, ".nbits", 4);
        CheckNumber(request, ".group_size", _group);
        CheckNumber(request, ".axis", 1);
        CheckText(request, ".packing", "4bit_u8");
        CheckText(request, ".unpack_view_dtype", "torch.uint8");
        foreach (string flag in (ReadOnlySpan<string>)[".view_as_float", ".quant_scale", ".quant_zero"]) CheckFlag(request, flag);
        // How it was found and kept in memory does not matter.
        foreach (string name in (ReadOnlySpan<string>)[".compute_dtype", ".channel_wise", ".encoded_state_dict", ".offload_meta", ".optimize", ".round_zero", ".stores_quant_config"])
            request.Folder.Find(request.Source + name);

        SafetensorsTensor codes = request.Need(".W_q", [SafetensorsType.U8], groups / 2, _group);
        SafetensorsTensor scales = request.Need(".scale", Floats, groups, 1);
        SafetensorsTensor zeros = request.Need(".zero", Floats, groups, 1);
        GroupEncoding encoding = new(request.Name, columns, rows)
        {
            Bits = 4, Group = _group, IsFlat = columns % _group != 0, ScaleFormat = FloatRows.FormatOf(scales), ZeroFormat = FloatRows.FormatOf(zeros),
        };
        return new EncodedWeights(encoding, () =>
        {
            ReadOnlySpan<byte> packed = codes.Bytes();
            byte[] all = new byte[values];
            for (int i = 0; i < packed.Length; i++)
            {
                all[i] = (byte)(packed[i] >> 4);
                all[packed.Length + i] = (byte)(packed[i] & 15);
            }

            return Parts(Pack(all, 4), scales.Bytes().ToArray(), zeros.Bytes().ToArray());
        });
    }

    private static void CheckNumber(LayerRequest request, string suffix, int expected)
    {
        if (!request.Has(suffix)) return;
        SafetensorsTensor tensor = request.Need(suffix, [SafetensorsType.I32]);
        int value = BinaryPrimitives.ReadInt32LittleEndian(tensor.Bytes());
        if (value != expected) throw CheckpointFolder.Fault(tensor, $"it is {value}, and {expected} can be read");
    }

    private static void CheckText(LayerRequest request, string suffix, string expected)
    {
        if (!request.Has(suffix)) return;
        SafetensorsTensor tensor = request.Folder.Need(request.Source + suffix, request.Meaning);
        string text = tensor.ByteLength <= 100 ? Encoding.UTF8.GetString(tensor.Bytes()) : $"{tensor.ByteLength} bytes";
        if (text != expected) throw CheckpointFolder.Fault(tensor, $"it is '{text}', and '{expected}' can be read");
    }

    private static void CheckFlag(LayerRequest request, string suffix)
    {
        if (!request.Has(suffix)) return;
        SafetensorsTensor tensor = request.Need(suffix, [SafetensorsType.U8]);
        if (tensor.Bytes()[0] != 0) throw CheckpointFolder.Fault(tensor, $"it is {tensor.Bytes()[0]}, and 0 can be read");
    }
}
