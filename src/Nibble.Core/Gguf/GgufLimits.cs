namespace Nibble.Core.Gguf;

/// <summary>
/// Bounds on what a GGUF file may ask for. Real files stay far below them; they keep a hostile file from taking time or memory.
/// Besides these, every length is checked against the bytes that the file has.
/// </summary>
public static class GgufLimits
{
    /// <summary>The oldest version that is read and written.</summary>
    public const uint MinVersion = 2;

    /// <summary>The newest version that is read and written.</summary>
    public const uint MaxVersion = 3;

    /// <summary>Metadata entries in one file.</summary>
    public const int MaxEntries = 1 << 20;

    /// <summary>Tensors in one file.</summary>
    public const int MaxTensors = 1 << 20;

    /// <summary>Bytes of a key.</summary>
    public const int MaxKeyBytes = 64 << 10;

    /// <summary>Bytes of a string.</summary>
    public const int MaxStringBytes = 64 << 20;

    /// <summary>Elements of an array.</summary>
    public const int MaxArrayElements = 64 << 20;

    /// <summary>Bytes of an array of strings, lengths included.</summary>
    public const long MaxStringArrayBytes = uint.MaxValue - sizeof(ulong);

    /// <summary>The alignment of tensor data where <c>general.alignment</c> is absent.</summary>
    public const uint DefaultAlignment = 32;

    /// <summary>The largest alignment of tensor data.</summary>
    public const uint MaxAlignment = 1 << 20;

    /// <summary>Bytes of a tensor's name (ggml keeps names in 64 bytes, the last of them zero).</summary>
    public const int MaxTensorNameBytes = 63;

    /// <summary>Dimensions of a tensor.</summary>
    public const int MaxDimensions = 4;

    /// <summary>Values along one dimension, bytes of one row, and matrices of one tensor.</summary>
    public const int MaxExtent = int.MaxValue;

    /// <summary>The files that one model may be split into (<c>split.count</c> is a uint16).</summary>
    public const int MaxParts = ushort.MaxValue;

    /// <summary>Bytes of magic, version and the two counts.</summary>
    internal const int HeaderBytes = 24;

    /// <summary>Bytes of the smallest entry: key length, a key of one byte, type, a value of one byte.</summary>
    internal const int MinEntryBytes = 8 + 1 + 4 + 1;

    /// <summary>Bytes of the smallest tensor description: name length, a name of one byte, dimension count, one dimension, type, offset.</summary>
    internal const int MinTensorBytes = 8 + 1 + 4 + 8 + 4 + 8;

    internal const string AlignmentKey = "general.alignment";

    internal static bool IsAlignment(uint value) => value is > 0 and <= MaxAlignment && (value & (value - 1)) == 0;

    /// <summary>Rounds up to the alignment; callers stay below <see cref="long.MaxValue"/> minus the alignment.</summary>
    internal static long Pad(long offset, uint alignment) => checked(offset + alignment - 1) & ~((long)alignment - 1);
}
