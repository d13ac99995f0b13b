namespace Nibble.Core.Gguf;

/// <summary>The type of a metadata value, with the number that it has in a file.</summary>
public enum GgufValueType
{
    /// <summary>One unsigned byte.</summary>
    UInt8 = 0,

    /// <summary>One signed byte.</summary>
    Int8 = 1,

    /// <summary>Two bytes, unsigned.</summary>
    UInt16 = 2,

    /// <summary>Two bytes, signed.</summary>
    Int16 = 3,

    /// <summary>Four bytes, unsigned.</summary>
    UInt32 = 4,

    /// <summary>Four bytes, signed.</summary>
    Int32 = 5,

    /// <summary>Four bytes, IEEE 754.</summary>
    Float32 = 6,

    /// <summary>One byte; every value but 0 is true.</summary>
    Boolean = 7,

    /// <summary>UTF-8 bytes after a uint64 length.</summary>
    String = 8,

    /// <summary>Elements of one type after that type and a uint64 count.</summary>
    Array = 9,

    /// <summary>Eight bytes, unsigned.</summary>
    UInt64 = 10,

    /// <summary>Eight bytes, signed.</summary>
    Int64 = 11,

    /// <summary>Eight bytes, IEEE 754.</summary>
    Float64 = 12,
}

internal static class GgufValueTypes
{
    public const uint Count = 13;

    private static ReadOnlySpan<byte> Sizes => [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8];

    /// <summary>Bytes of a value; 0 where they depend on the value.</summary>
    public static int FixedBytes(GgufValueType type) => Sizes[(int)type];
}
