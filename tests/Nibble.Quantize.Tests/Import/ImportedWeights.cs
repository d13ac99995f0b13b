using System.Runtime.InteropServices;
using Nibble.Core.Encodings;
using Nibble.Core.Gguf;

namespace Nibble.Quantize.Tests.Import;

/// <summary>The weights of an imported file, as the checkpoint had them.</summary>
internal static class ImportedWeights
{
    private static readonly Dictionary<string, string> s_names = new()
    {
        ["self_attn.q_proj"] = "attn_q",
        ["self_attn.k_proj"] = "attn_k",
        ["self_attn.v_proj"] = "attn_v",
        ["self_attn.o_proj"] = "attn_output",
        ["mlp.gate_proj"] = "ffn_gate",
        ["mlp.up_proj"] = "ffn_up",
        ["mlp.down_proj"] = "ffn_down",
    };

    /// <summary>The rows of a matrix of a llama, with the order of queries and keys undone.</summary>
    /// <param name="file">The imported file.</param>
    /// <param name="source">The checkpoint's name: <c>model.layers.N.PART.weight</c>.</param>
    /// <param name="heads">Query heads.</param>
    /// <param name="kvHeads">KV heads.</param>
    public static float[][] InCheckpointOrder(GgufFile file, string source, int heads, int kvHeads)
    {
        string[] parts = source.Split('.');
        string name = s_names[string.Join('.', parts[3..5])];
        float[][] rows = Rows(file, $"blk.{parts[2]}.{name}.weight");
        if (name is not ("attn_q" or "attn_k")) return rows;
        int size = rows.Length / (name == "attn_q" ? heads : kvHeads);
        float[][] ordered = new float[rows.Length][];
        for (int i = 0; i < rows.Length; i++)
        {
            // GGUF's neighbours 2 i and 2 i + 1 of a head are i and i + size / 2 of the checkpoint.
            int within = i % size;
            ordered[i - within + (within / 2) + (within % 2 * (size / 2))] = rows[i];
        }

        return ordered;
    }

    /// <summary>The CRC-32 of rows, with -0 as 0, as zlib computes it.</summary>
    public static uint Crc32(float[][] rows)
    {
        uint crc = uint.MaxValue;
        foreach (float[] row in rows)
        {
            float[] values = Array.ConvertAll(row, value => value == 0 ? 0f : value);
            foreach (byte value in MemoryMarshal.AsBytes(values.AsSpan()))
            {
                crc ^= value;
                for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) * 0xEDB88320u);
            }
        }

        return ~crc;
    }

    private static float[][] Rows(GgufFile file, string name)
    {
        if (EncodedTensors.Read(file).SingleOrDefault(one => one.Name == name) is { } encoded)
        {
            float[][] decoded = new float[encoded.RowCount][];
            for (int i = 0; i < decoded.Length; i++) encoded.DecodeRow(i, decoded[i] = new float[encoded.Columns]);
            return decoded;
        }

        GgufTensor tensor = file.Find(name)!;
        float[][] rows = new float[tensor.RowCount][];
        for (int i = 0; i < rows.Length; i++)
        {
            rows[i] = new float[tensor.Columns];
            tensor.Format.Decode(tensor.Row(i), rows[i]);
        }

        return rows;
    }
}
