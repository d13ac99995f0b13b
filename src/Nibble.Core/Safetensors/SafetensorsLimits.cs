namespace Nibble.Core.Safetensors;

/// <summary>
/// Bounds on what a safetensors file may ask for. Real files stay far below them; besides these, every length and offset is checked against the bytes that the file has.
/// </summary>
public static class SafetensorsLimits
{
    /// <summary>Bytes of the header (the bound of the reference implementation, safetensors 0.6, MAX_HEADER_SIZE).</summary>
    public const int MaxHeaderBytes = 100_000_000;

    /// <summary>Tensors in one file.</summary>
    public const int MaxTensors = 1 << 20;

    /// <summary>Bytes of a tensor's name.</summary>
    public const int MaxNameBytes = 1024;

    /// <summary>Dimensions of a tensor.</summary>
    public const int MaxDimensions = 8;

    /// <summary>Values along one dimension.</summary>
    public const long MaxExtent = 1L << 40;

    /// <summary>Bytes of the length in front of the header.</summary>
    internal const int LengthBytes = sizeof(ulong);
}
