using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Nibble.Cpu.Codes;

namespace Nibble.Cpu.Kernels;

/// <summary>Rows of a matrix times all tokens: unpacks some rows into scratch memory once and uses them for every token.</summary>
/// <remarks>What one (row, token) pair gives does not depend on the rows and tokens beside it. Tiles at an edge repeat their last row or token and drop the copies.</remarks>
internal static unsafe class MatMulRows<TLanes, TVector>
    where TLanes : struct, ILanes<TVector>
    where TVector : struct
{
    // [16 pairs x 16] lanes and [16] sums.
    private const int TileFloats = 256 + 16;

    // Unpacked rows that stay in the second-level cache while all tokens pass.
    private const int ChunkBytes = 128 << 10;

    /// <summary>Bytes of scratch memory a thread needs for products of so many columns.</summary>
    public static long ScratchBytes(int columns, int tokens) =>
        (TileFloats * 4) + (ChunkRows(columns, tokens) * Padded(columns) * 4L) + (RowFloats(columns) * 4L);

    /// <summary>Multiplies rows by float32 activations.</summary>
    /// <param name="target">The matrix.</param>
    /// <param name="input">The activations: X.</param>
    /// <param name="scratch">[<see cref="ScratchBytes"/>].</param>
    /// <param name="first">First row.</param>
    /// <param name="end">Behind the last row.</param>
    public static void Run(in MatMulTarget target, in MatMulInput input, byte* scratch, int first, int end)
    {
        float* lanes = (float*)scratch, sums = lanes + 256, decoded = lanes + TileFloats;
        int columns = input.Columns, padded = input.FloatColumns;
        int chunkRows = ChunkRows(columns, target.Count);
        bool inPlace = target.Format.Id == 0 && padded == columns;
        float* codes = decoded + ((long)chunkRows * padded);
        float** rows = stackalloc float*[4];
        float** x = stackalloc float*[4];
        for (int chunk = first; chunk < end; chunk += chunkRows)
        {
            int count = Math.Min(chunkRows, end - chunk);
            float* weights = decoded;
            if (inPlace)
                weights = (float*)(target.Weights + (chunk * target.RowBytes));
            else
                for (int r = 0; r < count; r++)
                    Decode(in target, chunk + r, columns, padded, codes, decoded + ((long)r * padded));

            for (int t = 0; t < target.Count;)
            {
                int tokens = TokensOf(target.Count - t, out int tile);
                for (int i = 0; i < tile; i++)
                    x[i] = input.X + (target.Inputs[t + Math.Min(i, tokens - 1)] * input.XStride);
                for (int r = 0; r < count; r += 4)
                {
                    for (int i = 0; i < 4; i++)
                        rows[i] = weights + ((long)Math.Min(r + i, count - 1) * padded);
                    FloatTiles<TLanes, TVector>.Dot(rows, x, tile, padded, lanes, sums);
                    Finish(in target, sums, t, tokens, chunk + r, Math.Min(4, count - r));
                }

                t += tokens;
            }
        }
    }

    // How many of the tokens that are left the next tile takes, and its width.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int TokensOf(int left, out int width)
    {
        width = TLanes.HasManyRegisters && left >= 3 ? 4 : left >= 2 ? 2 : 1;
        return Math.Min(left, width);
    }

    private static int Padded(int columns) => (columns + 15) & -16;

    // Scales, minima and codes of one row.
    private static int RowFloats(int columns) => (2 * MatMulInput.GroupsOf(columns)) + (Padded(columns) / 4);

    // Few tokens read a row once or twice: then it should still be in the first-level cache.
    private static int ChunkRows(int columns, int tokens) => tokens <= 4 ? 4 : Math.Clamp(ChunkBytes / (Padded(columns) * 4), 4, 64) & -4;

    private static void Decode(in MatMulTarget target, int index, int columns, int padded, float* scratch, float* values)
    {
        if (target.Source is { } source)
        {
            source.CopyRow(target.SourceRow + index, new Span<float>(values, columns));
            new Span<float>(values + columns, padded - columns).Clear();
            return;
        }

        byte* row = target.Weights + (index * target.RowBytes);
        if (target.Codes is { } format)
        {
            int groups = MatMulInput.GroupsOf(columns);
            sbyte* codes = (sbyte*)(scratch + (2 * groups));
            format.Unpack(row, columns, codes, scratch, scratch + groups);
            CodeFormats.ToFloat(codes, scratch, format.HasMins ? scratch + groups : null, columns, values);
            return;
        }

        target.Format.Decode(new ReadOnlySpan<byte>(row, (int)target.RowBytes), new Span<float>(values, columns));
        new Span<float>(values + columns, padded - columns).Clear();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Clear(float* sixteen)
    {
        Vector256<float>.Zero.Store(sixteen);
        Vector256<float>.Zero.Store(sixteen + 8);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Finish(in MatMulTarget target, float* sums, int token, int tokens, int row, int rows)
    {
        for (int i = 0; i < tokens; i++)
        {
            float* y = target.Y + (target.Outputs[token + i] * target.YStride) + row;
            for (int r = 0; r < rows; r++)
                y[r] = target.Scale * sums[(4 * i) + r];
        }
    }
}
