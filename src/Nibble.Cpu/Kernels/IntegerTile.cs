namespace Nibble.Cpu.Kernels;

/// <summary>
/// Four rows of weight codes and up to four tokens of activation codes:
/// Results[t, r] = sum over blocks of 32 and their halves of D[r][half] E[t] (integer sum of W[r] X[t] over the half), plus sum over groups of M[r] Sums[t].
/// </summary>
internal unsafe struct IntegerTile
{
    /// <summary>[4] rows of [32 x <see cref="Blocks"/>] codes.</summary>
    public sbyte** W;

    /// <summary>[4] rows of [2 x <see cref="Blocks"/>] scales, one per 16 columns.</summary>
    public float** D;

    /// <summary>[tokens] of [32 x <see cref="Blocks"/>] codes, -127 to 127.</summary>
    public sbyte** X;

    /// <summary>[tokens] of [<see cref="Blocks"/>] scales, one per 32 columns.</summary>
    public float** E;

    /// <summary>Blocks of 32 columns.</summary>
    public nint Blocks;

    /// <summary>[4] rows of [<see cref="Groups"/>] minima, one per 16 columns.</summary>
    public float** M;

    /// <summary>[tokens] of [<see cref="Groups"/>] scaled sums of the codes of 16 columns.</summary>
    public float** Sums;

    /// <summary>Groups of 16 columns, a multiple of 16; 0 where there are no minima.</summary>
    public nint Groups;

    /// <summary>[tokens x 4], overwritten.</summary>
    public float* Results;
}

/// <summary>The integer kernels of one instruction path. Integer sums are exact; float sums of a pair do not depend on the tile.</summary>
internal interface IIntegerTiles
{
    /// <summary>Computes a tile.</summary>
    /// <param name="tile">The tile.</param>
    /// <param name="tokens">1, 2, or 4 where <see cref="ILanes{TVector}.HasManyRegisters"/> of the path's lanes.</param>
    static abstract void Dot(in IntegerTile tile, int tokens);
}
