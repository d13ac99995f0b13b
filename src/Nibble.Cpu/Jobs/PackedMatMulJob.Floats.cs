using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Nibble.Cpu.Packed;

namespace Nibble.Cpu.Jobs;

/// <content>
/// Products of float32 rows and several tokens, whose activations are four to five times the bytes of codes: a chunk of columns after the other. The unpacked chunk of twice 16 rows stays in the first-level cache while
/// all tokens pass; their activations of the chunk, and the sums of all rows that take turns, stay in the second-level one. A sum is kept between chunks as it is, so that results do not depend on them.
/// </content>
internal sealed unsafe partial class PackedMatMulJob
{
    // 256 columns of twice 16 rows are 32 KB, of 256 tokens 256 KB; the sums of 8 times 16 rows and these tokens are 256 KB.
    private const int ChunkRuns = 8, MostTokens = 256, MostFloatTiles = 8;

    private static long FloatBytes(in PackedTarget target) =>
        (2L * ChunkRuns * target.Kernel.PanelRunBytes) + (MostFloatTiles * (long)Places(Math.Min(target.Count, MostTokens)) * target.Kernel.Sums * 16 * sizeof(float));

    // Of a share of the tokens; a tile has four places at least, unless one token is all there are.
    private static int Places(int tokens) => TokenTiles.Places(Math.Max(2, tokens));

    // All tokens' activations of a chunk lie together, tile after tile.
    private void PutFloats(float* x, byte* start, int places, int first, int width, int token)
    {
        for (int column = 0; column < _columns; column += 32 * ChunkRuns)
        {
            int columns = Math.Min(32 * ChunkRuns, _columns - column);
            float* tile = (float*)start + ((long)column * places) + ((long)first * columns);
            TokenTiles.PutFloats(x == null ? null : x + column, columns, tile, width, token);
        }
    }

    private void Floats(in PackedTarget target, byte* x, int first, int end, byte* panel, float* results)
    {
        for (int token = 0; token < target.Count; token += MostTokens)
        {
            int groups = (end - first + MostFloatTiles - 1) / MostFloatTiles;
            for (int group = 0; group < groups; group++)
            {
                int begin = first + Share(end - first, group, groups), count = first + Share(end - first, group + 1, groups) - begin;
                Floats(in target, x, token, Math.Min(MostTokens, target.Count - token), begin, count, panel, results);
            }
        }
    }

    private void Floats(in PackedTarget target, byte* x, int firstToken, int tokens, int firstTile, int tiles, byte* panel, float* results)
    {
        PackedKernel kernel = target.Kernel;
        int runs = _columns / 32, pairSums = kernel.Sums * 16, places = Places(tokens);
        long tileBytes = (long)target.Blocks * kernel.TileBytes, panelBytes = ChunkRuns * kernel.PanelRunBytes, tileSums = (long)places * pairSums;
        float* sums = (float*)(panel + (2 * panelBytes));
        new Span<float>(sums, checked((int)(tiles * tileSums))).Clear();
        for (int run = 0; run < runs; run += ChunkRuns)
        {
            int chunk = Math.Min(ChunkRuns, runs - run), blocks = chunk * 32 / kernel.TileColumns;
            for (int tile = 0; tile < tiles; tile += 2)
            {
                bool areTwo = tile + 1 < tiles;
                byte* packed = target.Tiles + ((firstTile + tile) * tileBytes) + (run * 32 / kernel.TileColumns * (long)kernel.TileBytes);
                kernel.Unpack(packed, blocks, panel);
                if (areTwo) kernel.Unpack(packed + tileBytes, blocks, panel + panelBytes);
                float* own = sums + (tile * tileSums);
                for (int token = 0, width; token < places; token += width)
                {
                    width = Math.Min(8, places - token);
                    byte* activations = x + ((((long)run * TokenTiles.Places(target.Count)) + ((firstToken + token) * chunk)) * TokenTiles.FloatRunBytes);
                    if (areTwo) kernel.AddTwo(panel, panelBytes, activations, width, chunk, own + (token * pairSums), tileSums);
                    else kernel.Add(panel, activations, width, chunk, own + (token * pairSums));
                }
            }
        }

        for (int tile = 0; tile < tiles; tile++)
            for (int token = 0; token < tokens; token += 8)
            {
                int used = Math.Min(8, tokens - token);
                Together(sums + (tile * tileSums) + (token * pairSums), kernel.Sums, used, results);
                Finish(in target, results, firstToken + token, used, firstTile + tile);
            }
    }

    // The sums of a pair added up: results[t, r] = sums[t, 0, r] + sums[t, 1, r].
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Together(float* sums, int count, int tokens, float* results)
    {
        for (int token = 0; token < tokens; token++, results += 16)
        {
            Vector512<float> sum = Vector512.Load(sums);
            sums += 16;
            for (int other = 1; other < count; other++, sums += 16)
                sum += Vector512.Load(sums);
            sum.Store(results);
        }
    }
}
