using Nibble.Core.Compute;
using Nibble.Core.Formats;

namespace Nibble.Cpu.Kernels;

/// <summary>One attention operation.</summary>
internal unsafe struct AttentionArguments
{
    /// <summary>Positions whose keys and values are decoded together. Tiles begin at multiples of it, so that a token sees the same ones whatever the batch.</summary>
    public const int TilePositions = 64;

    /// <summary>
    /// Positions whose softmax is computed by itself: a whole number of tiles. Chunks begin at multiples of it, and a token's are merged in their order, so it makes no difference which threads compute them.
    /// </summary>
    public const int ChunkPositions = 512;

    /// <summary>Rows whose scores are computed at a time: they stay in the first cache beside a tile.</summary>
    public const int BandRows = 32;

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

    /// <summary>Whether nothing is rounded but sums, and these are made of short chains, which round less.</summary>
    public bool Exact;

    /// <summary>Whether the cache holds rotated heads (<see cref="KvCache.IsRotated"/>).</summary>
    public bool IsRotated;

    /// <summary>Rows, that is pairs of a token and a query head, of the largest piece of work.</summary>
    public int UnitRows;

    /// <summary>[tokens x heads x chunks x <see cref="PartialValues"/>] what chunks gave that are merged later; null where nothing is.</summary>
    public float* Partials;

    /// <summary>Whether keys, values, queries and weights are multiplied as 16-bit integers: not where somebody asks for exact sums, or for a cache of float32.</summary>
    public readonly bool IsRounded => !Exact && !ReferenceEquals(Format, BlockFormats.F32);

    /// <summary>Query heads that share a KV head.</summary>
    public readonly int GroupHeads => Options.Heads / Layer.Heads;

    /// <summary>Values in a key, rounded up to 8.</summary>
    public readonly int PaddedKey => (Layer.KeySize + 7) & -8;

    /// <summary>Values in a value, rounded up to 32.</summary>
    public readonly int PaddedValue => (Layer.ValueSize + 31) & -32;

    /// <summary>What a chunk gives for one token's head: the sums of weighted values [<see cref="PaddedValue"/>], what they are relative to (the highest score, with rounded values that of scores and powers), the sum of the weights.</summary>
    public readonly int PartialValues => PaddedValue + 16;

    /// <summary>The first chunk that one of the tokens sees.</summary>
    public readonly int FirstChunk => Layer.FirstVisible(FirstPosition) / ChunkPositions;

    /// <summary>Chunks that the tokens see.</summary>
    public readonly int Chunks => ((FirstPosition + Tokens - 1) / ChunkPositions) + 1 - FirstChunk;

    /// <summary>Bytes of the rows of one tile, gathered or widened, and of a scale each; a row has at least the 64 bytes that rounding values needs for each.</summary>
    public readonly long RowBytes => TilePositions * (((4L * Math.Max(Layer.KeySize, Layer.ValueSize)) + 63) & -64) + (6 * TilePositions);

    /// <summary>Bytes of scratch memory a thread needs.</summary>
    public readonly long ScratchBytes
    {
        get
        {
            long tile = TilePositions * (long)(PaddedKey + PaddedValue), row = PaddedKey + PaddedValue + 16 + PartialValues + 3;
            return RowBytes + (4 * (tile + (BandRows * TilePositions) + (UnitRows * row) + (5 * TilePositions) + BandRows));
        }
    }

    /// <summary>The address of what a chunk gives for one token's head.</summary>
    /// <param name="token">Token.</param>
    /// <param name="head">Query head.</param>
    /// <param name="chunk">Chunk, counted from position 0.</param>
    public readonly float* Partial(int token, int head, int chunk) =>
        Partials + (((((long)token * Options.Heads) + head) * Chunks) + (chunk - FirstChunk)) * PartialValues;
}

/// <summary>A piece of an attention: some tokens, query heads and chunks.</summary>
/// <param name="FirstToken">First token.</param>
/// <param name="Tokens">Tokens.</param>
/// <param name="FirstHead">First query head.</param>
/// <param name="Heads">Query heads: whole groups that share a KV head, or a part of one group.</param>
/// <param name="FirstChunk">First chunk, counted from position 0.</param>
/// <param name="Chunks">Chunks.</param>
internal readonly record struct AttentionUnit(int FirstToken, int Tokens, int FirstHead, int Heads, int FirstChunk, int Chunks);
