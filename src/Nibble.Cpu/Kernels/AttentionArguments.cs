using Nibble.Core.Compute;
using Nibble.Core.Formats;

namespace Nibble.Cpu.Kernels;

/// <summary>One attention operation.</summary>
internal unsafe struct AttentionArguments
{
    /// <summary>Positions whose keys and values are decoded together. Tiles begin at multiples of it, so that a token sees the same ones whatever the batch.</summary>
    public const int TilePositions = 64;

    /// <summary>The first token's queries.</summary>
    public float* Queries;

    /// <summary>Values from one token's queries to the next.</summary>
    public long QueryStride;

    /// <summary>The first token's output.</summary>
    public float* Y;

    /// <summary>Values from one token's output to the next.</summary>
    public long YStride;

    /// <summary>The keys of row 0.</summary>
    public byte* Keys;

    /// <summary>The values of row 0.</summary>
    public byte* Values;

    /// <summary>Bytes from one position's keys to the next.</summary>
    public long KeyBytes;

    /// <summary>Bytes from one position's values to the next.</summary>
    public long ValueBytes;

    /// <summary>Rows of the layer; position p is in row p modulo that.</summary>
    public int Rows;

    /// <summary>The cache's format.</summary>
    public BlockFormat Format;

    /// <summary>Position of the first token.</summary>
    public int FirstPosition;

    /// <summary>Tokens.</summary>
    public int Tokens;

    /// <summary>KV heads, their sizes and the window.</summary>
    public KvLayer Layer;

    /// <summary>How.</summary>
    public AttentionOptions Options;

    /// <summary>[heads] the sinks' logits, or null.</summary>
    public float* Sinks;

    /// <summary>Tokens that one piece of work takes.</summary>
    public int GroupTokens;

    /// <summary>Query heads that share a KV head.</summary>
    public readonly int GroupHeads => Options.Heads / Layer.Heads;

    /// <summary>Values in a key, rounded up to 4.</summary>
    public readonly int PaddedKey => (Layer.KeySize + 3) & -4;

    /// <summary>Values in a value, rounded up to 32.</summary>
    public readonly int PaddedValue => (Layer.ValueSize + 31) & -32;

    /// <summary>Bytes of scratch memory a thread needs.</summary>
    public readonly long ScratchBytes
    {
        get
        {
            long rows = (long)GroupTokens * GroupHeads;
            long tile = (PaddedKey * (long)TilePositions) + (4 * PaddedKey) + ((long)TilePositions * PaddedValue);
            return 4 * (tile + (rows * (Layer.KeySize + TilePositions + PaddedValue + 4)) + TilePositions + 16 + 32);
        }
    }
}
