using System.Runtime.InteropServices;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;

namespace Nibble.Testing;

/// <summary>Encoded tensors of random parts, of every kind and option.</summary>
public static class EncodedSamples
{
    /// <summary>bitsandbytes' NF4 table.</summary>
    public static readonly float[] Nf4 =
    [
        -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f, -0.18477343022823334f, -0.09105003625154495f, 0.0f,
        0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f,
    ];

    /// <summary>bitsandbytes' FP4 table.</summary>
    public static readonly float[] Fp4 = [.. new[] { 0f, 0.0625f, 8f, 12f, 4f, 6f, 2f, 3f, -0f, -0.0625f, -8f, -12f, -4f, -6f, -2f, -3f }.Select(value => value / 12f)];

    /// <summary>Encodings by a name that tests can show, of a matrix of these columns and rows.</summary>
    /// <param name="columns">A multiple of 64 for those with groups of 64.</param>
    /// <param name="rows">Rows.</param>
    public static Dictionary<string, TensorEncoding> Encodings(int columns, int rows)
    {
        const string Name = "blk.0.attn_q.weight";
        Dictionary<string, TensorEncoding> encodings = new()
        {
            ["nf4"] = new TableEncoding(Name, columns, rows) { Block = 64, IsFlat = true },
            ["nf4-double"] = new TableEncoding(Name, columns, rows) { Block = 64, IsFlat = true, NestedBlock = 256, NestedOffset = 0.0123f },
            ["nf4-rows"] = new TableEncoding(Name, columns, rows) { Block = 32, ScaleFormat = BlockFormats.F16, HasRowOrder = true },
            ["fp4"] = new TableEncoding(Name, columns, rows) { Block = 64, IsFlat = true, TableName = "fp4" },
            ["table"] = new TableEncoding(Name, columns, rows) { Block = 32, TableName = "custom" },
            ["int4"] = new GroupEncoding(Name, columns, rows) { Bits = 4, Group = 32, Zero = 8 },
            ["int4-zeros"] = new GroupEncoding(Name, columns, rows) { Bits = 4, Group = 64, ZeroFormat = BlockFormats.I8, HasColumnOrder = true, HasRowOrder = true },
            ["int4-hqq"] = new GroupEncoding(Name, columns, rows) { Bits = 4, Group = 64, IsFlat = true, ZeroFormat = BlockFormats.F16 },
            ["int4-row"] = new GroupEncoding(Name, columns, rows) { Bits = 4, Group = columns, Zero = 8, ScaleFormat = BlockFormats.BF16 },
            ["int3"] = new GroupEncoding(Name, columns, rows) { Bits = 3, Group = 64, ZeroFormat = BlockFormats.I8, HasColumnOrder = true },
            ["int2"] = new GroupEncoding(Name, columns, rows) { Bits = 2, Group = 32, ZeroFormat = BlockFormats.F32 },
            ["int8"] = new GroupEncoding(Name, columns, rows) { Bits = 8, Group = columns, Zero = 128, ScaleFormat = BlockFormats.BF16 },
            ["int8-zeros"] = new GroupEncoding(Name, columns, rows) { Bits = 8, Group = 32, ZeroFormat = BlockFormats.F16 },
            ["llm.int8"] = new Int8Encoding(Name, columns, rows),
            ["llm.int8-outliers"] = new Int8Encoding(Name, columns, rows) { Outliers = Math.Min(5, columns), HasRowOrder = true },
            ["fp8"] = new Float8Encoding(Name, columns, rows) { HasRowOrder = true },
            ["int4-outliers"] = new GroupEncoding(Name, columns, rows) { Bits = 4, Group = 32, Zero = 8, Outliers = 3, OutlierFormat = BlockFormats.F32, HasColumnOrder = true },
            ["int8-static"] = new GroupEncoding(Name, columns, rows) { Bits = 8, Group = columns, Zero = 128, HasInputScale = true },
            ["int4-static"] = new GroupEncoding(Name, columns, rows) { Bits = 4, Group = 64, ZeroFormat = BlockFormats.I8, HasColumnOrder = true, HasRowOrder = true, HasInputScale = true },
        };
        return encodings;
    }

    /// <summary>Random parts for an encoding.</summary>
    /// <param name="encoding">The encoding.</param>
    /// <param name="seed">Seed.</param>
    public static EncodedData Data(TensorEncoding encoding, int seed)
    {
        Random random = new(seed);
        EncodedData data = new();
        foreach (EncodedPartShape part in encoding.Parts())
        {
            byte[] bytes = new byte[part.ByteLength];
            switch (part.Part)
            {
                case EncodedPart.Codes:
                    random.NextBytes(bytes);
                    if (encoding is Float8Encoding)
                        foreach (ref byte code in bytes.AsSpan())
                            if ((code & 127) == 127) code--;
                    break;
                case EncodedPart.Scales when part.Format == BlockFormats.I8:
                    random.NextBytes(bytes);
                    break;
                case EncodedPart.Zeros when part.Format == BlockFormats.I8:
                    foreach (ref byte zero in bytes.AsSpan())
                        zero = (byte)random.Next(1 << ((GroupEncoding)encoding).Bits);
                    break;
                case EncodedPart.Zeros:
                    Fill(part, bytes, () => random.NextSingle() * (1 << ((GroupEncoding)encoding).Bits));
                    break;
                case EncodedPart.Table:
                    float[] table = ((TableEncoding)encoding).TableName switch { "nf4" => Nf4, "fp4" => Fp4, _ => [.. Enumerable.Range(0, 16).Select(i => (i * 0.3f) - 2.1f)] };
                    table.AsSpan().CopyTo(MemoryMarshal.Cast<byte, float>(bytes.AsSpan()));
                    break;
                case EncodedPart.NestedTable:
                    Fill(part, bytes, () => (random.NextSingle() * 2) - 1);
                    break;
                case EncodedPart.RowOrder or EncodedPart.ColumnOrder:
                    int[] order = [.. Enumerable.Range(0, (int)part.Width)];
                    random.Shuffle(order);
                    order.AsSpan().CopyTo(MemoryMarshal.Cast<byte, int>(bytes.AsSpan()));
                    break;
                case EncodedPart.OutlierColumns:
                    int[] columns = [.. Enumerable.Range(0, encoding.Columns)];
                    random.Shuffle(columns);
                    int[] chosen = columns[..encoding.Outliers];
                    Array.Sort(chosen);
                    chosen.AsSpan().CopyTo(MemoryMarshal.Cast<byte, int>(bytes.AsSpan()));
                    break;
                default:
                    Fill(part, bytes, () => 0.001f + (0.01f * random.NextSingle()));
                    break;
            }

            data.Set(part.Part, bytes);
        }

        return data;
    }

    private static void Fill(EncodedPartShape part, byte[] bytes, Func<float> next)
    {
        float[] values = new float[part.Width * part.Height * part.Depth];
        foreach (ref float value in values.AsSpan())
            value = next();
        part.Format.Encode(values, bytes);
    }
}
