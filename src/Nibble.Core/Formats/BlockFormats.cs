using System.Collections.Immutable;

namespace Nibble.Core.Formats;

/// <summary>The table of block formats. A format that has a line here loads, runs through the readable dot, and is tested.</summary>
public static class BlockFormats
{
    private static readonly List<BlockFormat> s_lines = [];

    /// <summary>float32.</summary>
    public static BlockFormat F32 { get; } = Line(new BlockFormat<F32>("F32", 0));

    /// <summary>IEEE 754 binary16.</summary>
    public static BlockFormat F16 { get; } = Line(new BlockFormat<F16>("F16", 1));

    /// <summary>4 bits and a scale per 32.</summary>
    public static BlockFormat Q4_0 { get; } = Line(new BlockFormat<Q4_0>("Q4_0", 2));

    /// <summary>4 bits, a scale and a minimum per 32.</summary>
    public static BlockFormat Q4_1 { get; } = Line(new BlockFormat<Q4_1>("Q4_1", 3));

    /// <summary>5 bits and a scale per 32.</summary>
    public static BlockFormat Q5_0 { get; } = Line(new BlockFormat<Q5_0>("Q5_0", 6));

    /// <summary>5 bits, a scale and a minimum per 32.</summary>
    public static BlockFormat Q5_1 { get; } = Line(new BlockFormat<Q5_1>("Q5_1", 7));

    /// <summary>8 bits and a scale per 32.</summary>
    public static BlockFormat Q8_0 { get; } = Line(new BlockFormat<Q8_0>("Q8_0", 8));

    /// <summary>2 bits in super-blocks of 256.</summary>
    public static BlockFormat Q2_K { get; } = Line(new BlockFormat<Q2_K>("Q2_K", 10));

    /// <summary>3 bits in super-blocks of 256.</summary>
    public static BlockFormat Q3_K { get; } = Line(new BlockFormat<Q3_K>("Q3_K", 11));

    /// <summary>4 bits in super-blocks of 256.</summary>
    public static BlockFormat Q4_K { get; } = Line(new BlockFormat<Q4_K>("Q4_K", 12));

    /// <summary>5 bits in super-blocks of 256.</summary>
    public static BlockFormat Q5_K { get; } = Line(new BlockFormat<Q5_K>("Q5_K", 13));

    /// <summary>6 bits in super-blocks of 256.</summary>
    public static BlockFormat Q6_K { get; } = Line(new BlockFormat<Q6_K>("Q6_K", 14));

    /// <summary>4 bits of a non-linear table and a scale per 32.</summary>
    public static BlockFormat IQ4_NL { get; } = Line(new BlockFormat<IQ4_NL>("IQ4_NL", 20));

    /// <summary>4 bits of a non-linear table in super-blocks of 256.</summary>
    public static BlockFormat IQ4_XS { get; } = Line(new BlockFormat<IQ4_XS>("IQ4_XS", 23));

    /// <summary>The upper half of a float32.</summary>
    public static BlockFormat BF16 { get; } = Line(new BlockFormat<BF16>("BF16", 30));

    /// <summary>Ternary, five to a byte.</summary>
    public static BlockFormat TQ1_0 { get; } = Line(new BlockFormat<TQ1_0>("TQ1_0", 34));

    /// <summary>Ternary, four to a byte.</summary>
    public static BlockFormat TQ2_0 { get; } = Line(new BlockFormat<TQ2_0>("TQ2_0", 35));

    /// <summary>E2M1 and a power-of-two scale per 32.</summary>
    public static BlockFormat MXFP4 { get; } = Line(new BlockFormat<MXFP4>("MXFP4", 39));

    /// <summary>E2M1 and an 8-bit float scale per 16.</summary>
    public static BlockFormat NVFP4 { get; } = Line(new BlockFormat<NVFP4>("NVFP4", 40));

    /// <summary>Every format of weights, in the order of ggml's numbers.</summary>
    public static ImmutableArray<BlockFormat> All { get; } = [.. s_lines];

    /// <summary>Signed bytes: a part of an encoded tensor, no weights.</summary>
    public static BlockFormat I8 { get; } = new BlockFormat<I8>("I8", 24);

    /// <summary>32-bit integers: a part of an encoded tensor, no weights.</summary>
    public static BlockFormat I32 { get; } = new BlockFormat<I32>("I32", 26);

    /// <summary>Formats of integers, which files may hold but nothing is multiplied with.</summary>
    public static ImmutableArray<BlockFormat> Integers { get; } = [I8, I32];

    /// <summary>The format of weights with this <c>ggml_type</c> number, or null.</summary>
    public static BlockFormat? Find(uint id) => Find(All, id);

    /// <summary>The format with this <c>ggml_type</c> number that a file's tensor may have, integers included, or null.</summary>
    public static BlockFormat? FindStored(uint id) => Find(All, id) ?? Find(Integers, id);

    /// <summary>The format with this name, in any case, or null.</summary>
    public static BlockFormat? Find(string name)
    {
        foreach (BlockFormat format in All)
            if (string.Equals(format.Name, name, StringComparison.OrdinalIgnoreCase)) return format;
        return null;
    }

    private static BlockFormat? Find(ImmutableArray<BlockFormat> formats, uint id)
    {
        foreach (BlockFormat format in formats)
            if (format.Id == id) return format;
        return null;
    }

    // Static properties are set in the order of their lines, so All, below them, sees every one.
    private static BlockFormat Line(BlockFormat format)
    {
        s_lines.Add(format);
        return format;
    }
}
