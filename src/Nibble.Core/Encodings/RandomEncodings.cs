using System.Collections.Immutable;
using System.Runtime.InteropServices;
using Nibble.Core.Formats;

namespace Nibble.Core.Encodings;

/// <summary>Encoded tensors of random codes in memory, to measure products with: what <see cref="RandomBlocks"/> is for block formats.</summary>
public static class RandomEncodings
{
    private const string TensorName = "random";

    // Scales are spread evenly over 0.75 to 1.25 times their mean; this is the square root of the mean of their squares, sqrt(1 + 0.5^2 / 12).
    private const double ScaleSpread = 1.0103630;

    private static readonly (string Name, Func<int, int, TensorEncoding> Make)[] s_known =
    [
        ("nf4_b64", (columns, rows) => new TableEncoding(TensorName, columns, rows) { Block = 64 }),
        ("fp4_b64", (columns, rows) => new TableEncoding(TensorName, columns, rows) { Block = 64, TableName = "fp4" }),
        ("int3_g128_zeros", (columns, rows) => new GroupEncoding(TensorName, columns, rows) { Bits = 3, Group = 128, ZeroFormat = BlockFormats.I8 }),
        ("int4_g32", (columns, rows) => new GroupEncoding(TensorName, columns, rows) { Group = 32, Zero = 8 }),
        ("int4_g64", (columns, rows) => new GroupEncoding(TensorName, columns, rows) { Group = 64, Zero = 8 }),
        ("int4_g128", (columns, rows) => new GroupEncoding(TensorName, columns, rows) { Group = 128, Zero = 8 }),
        ("int4_g128_zeros", (columns, rows) => new GroupEncoding(TensorName, columns, rows) { Group = 128, ZeroFormat = BlockFormats.I8 }),
        ("int8_row", (columns, rows) => new GroupEncoding(TensorName, columns, rows) { Bits = 8, Group = columns, Zero = 128 }),
        ("llm.int8", (columns, rows) => new Int8Encoding(TensorName, columns, rows)),
        ("fp8_128x128", (columns, rows) => new Float8Encoding(TensorName, columns, rows)),
    ];

    /// <summary>The names that <see cref="Find"/> knows: those of their formats.</summary>
    public static ImmutableArray<string> Names { get; } = [.. s_known.Select(one => one.Name)];

    /// <summary>An encoding by the name of its format, in any case.</summary>
    /// <param name="name">One of <see cref="Names"/>.</param>
    /// <param name="columns">Values in a row.</param>
    /// <param name="rows">Rows.</param>
    /// <returns>The encoding, whose columns its groups may not divide (<see cref="TensorEncoding.Check"/>); null where the name is none of them.</returns>
    public static TensorEncoding? Find(string name, int columns, int rows)
    {
        foreach ((string known, Func<int, int, TensorEncoding> make) in s_known)
            if (string.Equals(known, name, StringComparison.OrdinalIgnoreCase)) return make(columns, rows);
        return null;
    }

    /// <summary>Draws a tensor whose values have the deviation 1 / sqrt(columns), about, as a trained one has.</summary>
    /// <param name="encoding">The encoding, of <see cref="Find"/>.</param>
    /// <param name="seed">Seed; the same one gives the same bytes everywhere.</param>
    /// <exception cref="ArgumentException">Its groups do not divide the columns.</exception>
    public static EncodedTensor Create(TensorEncoding encoding, int seed = 0)
    {
        ArgumentNullException.ThrowIfNull(encoding);
        encoding.Check();
        SplitMix64 random = new((ulong)seed);

        ImmutableArray<float> table = encoding is TableEncoding { TableName: "nf4" } ? TableEncoding.NormalFloat : TableEncoding.Float4;

        // The mean square of what codes stand for. Zeros are the middle, one less or one more; a code that would be NaN becomes the one before.
        double square = encoding switch
        {
            TableEncoding => table.Average(value => (double)value * value),
            Float8Encoding => Enumerable.Range(0, 256).Average(code => Math.Pow(Float8Encoding.Values[(code & 127) == 127 ? code - 1 : code], 2)),
            _ => Enumerable.Range(0, 1 << encoding.BitsPerCode).Average(code => Math.Pow(code - (1 << (encoding.BitsPerCode - 1)), 2)) + (encoding is GroupEncoding { ZeroFormat: not null } ? 2.0 / 3 : 0),
        };
        double scale = 1 / (Math.Sqrt(encoding.Columns * square) * ScaleSpread) * (encoding is Int8Encoding ? 127 : 1);
        EncodedData data = new();
        foreach (EncodedPartShape part in encoding.Parts())
        {
            byte[] bytes = new byte[part.ByteLength];
            switch (part.Part)
            {
                case EncodedPart.Table:
                    table.AsSpan().CopyTo(MemoryMarshal.Cast<byte, float>(bytes.AsSpan()));
                    break;
                case EncodedPart.Scales:
                    float[] scales = new float[part.Width * part.Height];
                    foreach (ref float value in scales.AsSpan())
                        value = (float)(scale * (0.75 + ((random.Next() >> 40) / (double)(1 << 25))));
                    part.Format.Encode(scales, bytes);
                    break;
                case EncodedPart.Zeros:
                    int middle = 1 << (encoding.BitsPerCode - 1);
                    foreach (ref byte zero in bytes.AsSpan())
                        zero = (byte)(middle - 1 + (int)(random.Next() % 3));
                    break;
                default:
                    Span<ulong> words = MemoryMarshal.Cast<byte, ulong>(bytes.AsSpan());
                    foreach (ref ulong word in words)
                        word = random.Next();
                    foreach (ref byte code in bytes.AsSpan(words.Length * 8))
                        code = (byte)random.Next();
                    if (encoding is not Float8Encoding) break;
                    foreach (ref byte code in bytes.AsSpan())
                        if ((code & 127) == 127) code--;
                    break;
            }

            data.Set(part.Part, bytes);
        }

        return new EncodedTensor(encoding, data);
    }
}
