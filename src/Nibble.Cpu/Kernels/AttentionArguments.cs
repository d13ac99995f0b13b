using Nibble.Core.Formats;

namespace Nibble.Cpu.Kernels;

/// <summary>One attention operation.</summary>
internal unsafe struct AttentionArguments
{
    /// <summary>Positions whose keys and values are decoded together. Softmax works tile by tile from position 0 on, whatever the batch.</summary>
    public const int TilePositions = 64;

    /// <summary>The first token's queries.</summary>
    public float* Queries;

    /// <summary>Values from one token's queries to the next.</summary>
    public long QueryStride;

    /// <summary>The first token's output.</summary>
    public float* Y;

    /// <summary>Values from one token's output to the next.</summary>
    public long YStride;

    /// <summary>The keys of position 0.</summary>
    public byte* Keys;

    /// <summary>The values of position 0.</summary>
    public byte* Values;

    /// <summary>Bytes from one position's keys to the next.</summary>
    public long KeyBytes;

    /// <summary>Bytes from one position's values to the next.</summary>
    public long ValueBytes;

    /// <summary>The cache's format.</summary>
    public BlockFormat Format;

    /// <summary>Position of the first token.</summary>
    public int FirstPosition;

    /// <summary>Tokens.</summary>
    public int Tokens;

    /// <summary>KV heads.</summary>
    public int KvHeads;

    /// <summary>Query heads that share a KV head.</summary>
    public int GroupHeads;

    /// <summary>Values in a key.</summary>
    public int KeySize;

    /// <summary>Values in a value.</summary>
    public int ValueSize;

    /// <summary>What scores are multiplied by.</summary>
    public float Scale;

    /// <summary>Tokens that one piece of work takes.</summary>
    public int GroupTokens;

    /// <summary><see cref="KeySize"/> rounded up to 4.</summary>
    public readonly int PaddedKey => (KeySize + 3) & -4;

    /// <summary><see cref="ValueSize"/> rounded up to 32.</summary>
    public readonly int PaddedValue => (ValueSize + 31) & -32;

    /// <summary>Bytes of scratch memory a thread needs.</summary>
    public readonly long ScratchBytes
    {
        get
        {
            long rows = (long)GroupTokens * GroupHeads;
            long tile = (PaddedKey * (long)TilePositions) + (4 * PaddedKey) + ((long)TilePositions * PaddedValue);
            return 4 * (tile + (rows * (KeySize + TilePositions + PaddedValue + 2)) + 16 + 32);
        }
    }
}
