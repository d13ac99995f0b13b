namespace Nibble.Cpu.Packed;

/// <summary>Where packed rows lie. Nothing keeps the memory alive.</summary>
internal unsafe struct PackedRun
{
    /// <summary>The first tile.</summary>
    public byte* Tiles;

    /// <summary>16 rows each; the last may have fewer.</summary>
    public int RowTiles;

    /// <summary>Bytes of 16 rows.</summary>
    public long RowTileBytes;

    /// <summary>The rows without the first ones.</summary>
    /// <param name="rowTile">How many times 16 rows to leave out.</param>
    public readonly PackedRun From(int rowTile) => new() { Tiles = Tiles + (rowTile * RowTileBytes), RowTiles = RowTiles - rowTile, RowTileBytes = RowTileBytes };
}
