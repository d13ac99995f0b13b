using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using Nibble.Cpu.Packed;

namespace Nibble.Cpu.Jobs;

/// <content>
/// Products of several tokens, a chunk of columns after the other. The unpacked chunk of 16 rows, or twice as many, stays in the first-level cache while all tokens pass; their activations of the chunk, and the sums of
/// all rows that take turns, stay in the second-level one. A sum is kept between chunks as it is, so that results do not depend on them.
/// </content>
internal sealed unsafe partial class PackedMatMulJob
{
    // Float32: 128 columns of twice 16 rows are 16 KB, of 256 tokens 128 KB; the sums of 8 times 16 rows and these tokens are 256 KB.
    // Prompts with F16 weights on two Zen 5 cores: 158 tokens a second, 153 with 256 columns, 139 without chunks.
    private static readonly ChunkSize s_floats = new(Runs: 4, Tiles: 8, Together: 2, Tokens: 256);

    // Codes: 1024 columns of 16 rows are 26 KB; the sums of 4 times 16 rows and 512 tokens are 128 KB. Prompts of the 1.1B model there: Q4_0 423 tokens a second instead of 393 with whole rows of
    // 112 or 32, Q8_0 290 instead of 275. Products of 2 to 8 tokens, for which the next rows are asked for before the present ones are multiplied: 1.14 to 1.17 times as fast.
    private static readonly ChunkSize s_codes = new(Runs: 32, Tiles: 4, Together: 1, Tokens: 512);

    // Float32 rows wait for memory where tokens are few, and it gives whole rows a little faster.
    private ChunkSize SizeOf(bool areFloats, int tokens) => !areFloats ? s_codes : tokens <= 8 ? s_floats with { Runs = _columns / 32 } : s_floats;

    private ChunkSize SizeOf(in PackedTarget target) => SizeOf(target.Kernel.Kind == CodeKind.Floats, target.Count);

    // A share of some tiles, of which none but the last is not a multiple of those that are multiplied together.
    private static int Share(int tiles, int part, int parts, int together) => Math.Min(tiles, together * Share((tiles + together - 1) / together, part, parts));

    // Memory of a thread for the unpacked rows and the sums of a product of several tokens.
    private long ChunkBytes(in PackedTarget target)
    {
        ChunkSize size = SizeOf(in target);
        return ((long)size.Together * size.Runs * target.Kernel.PanelRunBytes) + ((long)size.Tiles * TokenTiles.Places(Math.Min(target.Count, size.Tokens)) * target.Kernel.Sums * 16 * sizeof(float));
    }

    // Where a chunk of a tile of tokens lies: all tokens' activations of a chunk are together, tile after tile.
    private byte* Tile(in TokenList list, int first, int column, int columns) =>
        _tiles + list.Offset + ((((long)column * list.Places) + ((long)first * columns)) / 32 * list.RunBytes);

    // Puts some tokens into their tile; places that are left are zero.
    private void PutTile(in TokenList list, int first, float* made)
    {
        bool areFloats = list.RunBytes == TokenTiles.FloatRunBytes;
        int width = TokenTiles.Width(list.Count - first, IsFew(list.Count)), used = Math.Min(width, list.Count - first), chunkColumns = IsFew(list.Count) ? _columns : 32 * SizeOf(areFloats, list.Count).Runs;
        for (int column = 0; used < width && column < _columns; column += chunkColumns)
        {
            int columns = Math.Min(chunkColumns, _columns - column);
            NativeMemory.Clear(Tile(in list, first, column, columns), (nuint)((long)width * (columns / 32) * list.RunBytes));
        }

        float** rows = stackalloc float*[MadeRows];
        for (int token = 0, step; token < used; token += step)
        {
            step = areFloats && list.Columns == null && used - token >= MadeRows ? MadeRows : 1;
            for (int i = 0; i < step; i++)
                rows[i] = _input.Row(_kernels, list.Inputs[first + token + i], made + ((long)i * _columns));
            float* x = list.Columns == null ? rows[0] : Gather(rows[0], list.Columns, made + ((long)MadeRows * _columns));
            for (int column = 0; column < _columns; column += chunkColumns)
            {
                int columns = Math.Min(chunkColumns, _columns - column);
                byte* tile = Tile(in list, first, column, columns);
                if (step == MadeRows) TokenTiles.PutFloats(x + column, rows[1] + column, rows[2] + column, rows[3] + column, columns, (float*)tile, width, token);
                else if (areFloats) TokenTiles.PutFloats(x + column, columns, (float*)tile, width, token);
                else TokenTiles.PutCodes(x + column, columns, tile, width, token, list.InputScale);
            }
        }
    }

    private void Many(in PackedTarget target, byte* x, int first, int end, byte* panel, float* results)
    {
        ChunkSize size = SizeOf(in target);
        int groups = (end - first + size.Tiles - 1) / size.Tiles;
        for (int token = 0; token < target.Count; token += size.Tokens)
        {
            for (int group = 0; group < groups; group++)
            {
                int begin = first + Share(end - first, group, groups, size.Together), count = first + Share(end - first, group + 1, groups, size.Together) - begin;
                Group(in target, x, token, Math.Min(size.Tokens, target.Count - token), begin, count, panel, results);
            }
        }
    }

    // Products of some tokens and the tiles whose sums are kept together.
    private void Group(in PackedTarget target, byte* x, int firstToken, int tokens, int firstTile, int tiles, byte* panel, float* results)
    {
        PackedKernel kernel = target.Kernel;
        ChunkSize size = SizeOf(in target);
        int runs = _columns / 32, runBytes = _lists[target.Tokens].RunBytes, pairSums = kernel.Sums * 16, allPlaces = TokenTiles.Places(target.Count), places = TokenTiles.Places(tokens);
        long tileBytes = (long)target.Blocks * kernel.TileBytes, panelBytes = size.Runs * kernel.PanelRunBytes, tileSums = (long)places * pairSums;
        float* sums = (float*)(panel + (size.Together * panelBytes));
        new Span<float>(sums, checked((int)(tiles * tileSums))).Clear();
        for (int run = 0; run < runs; run += size.Runs)
        {
            int chunk = Math.Min(size.Runs, runs - run), blocks = chunk * 32 / kernel.TileColumns, chunkBytes = blocks * kernel.TileBytes;
            byte* tokenTiles = x + (((long)run * allPlaces) + ((long)firstToken * chunk)) * runBytes;
            byte* packed = target.Tiles + (firstTile * tileBytes) + (run * 32 / kernel.TileColumns * (long)kernel.TileBytes);
            for (int tile = 0; tile < tiles; tile += size.Together, packed += size.Together * tileBytes)
            {
                bool areTwo = size.Together == 2 && tile + 1 < tiles;
                kernel.Unpack(packed, blocks, panel);
                if (areTwo) kernel.Unpack(packed + tileBytes, blocks, panel + panelBytes);

                // While they are multiplied, what is unpacked next is asked for.
                byte* ahead = tile + size.Together < tiles ? packed + (size.Together * tileBytes) : target.Tiles + (firstTile * tileBytes) + ((run + chunk) * 32 / kernel.TileColumns * (long)kernel.TileBytes);
                int aheadBytes = chunkBytes * Math.Min(8, places) / places;
                float* own = sums + (tile * tileSums);
                byte* tokenTile = tokenTiles;
                for (int token = 0, width; token < places; token += width)
                {
                    width = Math.Min(8, places - token);
                    ReadAhead.Whole(ahead, aheadBytes);
                    if (areTwo) ReadAhead.Whole(ahead + tileBytes, aheadBytes);
                    ahead += aheadBytes;
                    if (areTwo) kernel.AddTwo(panel, panelBytes, tokenTile, width, chunk, own, tileSums);
                    else kernel.Add(panel, tokenTile, width, chunk, own);
                    int used = run + chunk < runs ? 0 : Math.Min(width, tokens - token);
                    for (int done = 0; done < (areTwo ? 2 : 1) && used > 0; done++)
                        Finish(in target, own + (done * tileSums), firstToken + token, used, firstTile + tile + done, results);
                    own += width * pairSums;
                    tokenTile += (long)width * chunk * runBytes;
                }
            }
        }
    }

    // The last chunk's sums become results at once, while they are in the first-level cache and the next products leave time to write them.
    private void Finish(in PackedTarget target, float* sums, int token, int tokens, int tile, float* results)
    {
        int count = target.Kernel.Sums;
        if (count > 1) Together(sums, count, tokens, results);
        Finish(in target, count > 1 ? results : sums, token, tokens, tile);
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

    // Runs of 32 columns in a chunk, times 16 rows whose sums are kept, of these how many are multiplied together, and tokens.
    private readonly record struct ChunkSize(int Runs, int Tiles, int Together, int Tokens);
}
