using System.Collections.Immutable;

namespace Nibble.Core.Formats;

/// <summary>The table of block formats. A format that has a line here loads, runs through the readable dot, and is tested.</summary>
public static class BlockFormats
{
    /// <summary>float32.</summary>
    public static BlockFormat F32 { get; } = new EncodableBlockFormat<F32>("F32", 0);

    /// <summary>Every format, in the order of ggml's numbers.</summary>
    public static ImmutableArray<BlockFormat> All { get; } =
    [
        F32,
    ];

    /// <summary>The format with this <c>ggml_type</c> number, or null.</summary>
    public static BlockFormat? Find(uint id)
    {
        foreach (BlockFormat format in All)
            if (format.Id == id) return format;
        return null;
    }

    /// <summary>The format with this name, in any case, or null.</summary>
    public static BlockFormat? Find(string name)
    {
        foreach (BlockFormat format in All)
            if (string.Equals(format.Name, name, StringComparison.OrdinalIgnoreCase)) return format;
        return null;
    }
}
