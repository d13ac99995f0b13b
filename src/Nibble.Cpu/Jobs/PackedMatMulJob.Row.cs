using Nibble.Cpu.Packed;
using Nibble.Cpu.Threading;

namespace Nibble.Cpu.Jobs;

/// <content>
/// Products of one token, or of few, for each of which the packed rows are unpacked anew. The tiles of all matrices are one list, of which every thread has its own run; the processor is told what the thread reads after the tiles at hand, even
/// across products: a forward pass multiplies the same weights in the same order for each token, so each product remembers which one came after it the last time. A thread that waits for
/// the next product asks for the beginning of its run there. On SmolLM2-135M (Q4_1, two threads of a Sapphire Rapids machine) a run for each thread and the successor together gave 1.20 times
/// the tokens a second, and asking while waiting another 1.02 to 1.04 times.
/// </content>
internal sealed unsafe partial class PackedMatMulJob : IIdleWork
{
    // What a waiting thread asks for at a time, and at most: some of the second-level cache, which has a megabyte or two on servers and a quarter of that elsewhere.
    private const int StepBytes = 2048, MostBytes = 128 << 10;

    // Up to here it is faster to multiply packed rows with each token than to unpack them for all. Of 5632 x 2048 on two Zen 5 cores 2 tokens took 0.53 to 0.65 times as long for Q4_0, Q4_K, Q5_K, Q6_K, Q8_0, F16 and
    // BF16, and 3 tokens 0.75 to 0.95 times; 4 tokens up to 1.4 times.
    private const int FewTokens = 3;

    private int _rowTiles;
    private bool _isRow;
    private PackedMatrix? _last;
    private PackedRun[] _successor = [], _upcoming = [];

    /// <inheritdoc/>
    public override bool IsSplit => _isRow;

    private int RowParts() => _places * ((((_rowTiles + _places - 1) / _places) + PackedKernel.MostTiles - 1) / PackedKernel.MostTiles);

    /// <summary>How many tiles some tokens are put into: few have one each.</summary>
    public static int TokenTileCount(int tokens) => IsFew(tokens) ? tokens : (tokens + 7) / 8;

    private static bool IsFew(int tokens) => tokens <= FewTokens;

    // Finds out whether this is a product of few tokens, and what comes after it.
    private void PrepareRow()
    {
        (_isRow, _rowTiles, _successor) = (TargetCount > 0, 0, []);
        bool isKnown = true;
        for (int i = 0; i < TargetCount; i++)
        {
            _isRow &= IsFew(_targets[i].Count);
            isKnown &= _targets[i].Matrix is not null;
            _rowTiles += (_targets[i].Rows + 15) / 16;
        }

        if (!_isRow) return;
        if (_last is not null && isKnown && !IsThis(_last.Next)) _last.Next = Runs();
        _last = isKnown ? _targets[0].Matrix : null;
        if (isKnown) _successor = _last!.Next;
    }

    private bool IsThis(PackedRun[] runs)
    {
        if (runs.Length != TargetCount) return false;
        for (int i = 0; i < TargetCount; i++)
            if (runs[i].Tiles != _targets[i].Tiles) return false;
        return true;
    }

    private PackedRun[] Runs()
    {
        PackedRun[] runs = new PackedRun[TargetCount];
        for (int i = 0; i < TargetCount; i++)
            runs[i] = RunOf(in _targets[i]);
        return runs;
    }

    private static PackedRun RunOf(in PackedTarget target) => new() { Tiles = target.Tiles, RowTiles = (target.Rows + 15) / 16, RowTileBytes = (long)target.Blocks * target.Kernel.TileBytes };

    /// <summary>Asks for the beginning of what the thread multiplies in the product after the last one.</summary>
    /// <inheritdoc/>
    public bool Step(int thread, int step)
    {
        PackedRun[] runs = Volatile.Read(ref _upcoming);
        PackedRun first = Begin(runs, thread, _places);
        long at = (long)step * StepBytes, left = Math.Min(first.RowTiles * first.RowTileBytes, MostBytes) - at;
        if (left <= 0) return false;
        ReadAhead.Whole(first.Tiles + at, (int)Math.Min(left, StepBytes));
        return true;
    }

    private void RunRow(int part, int parts, float* results)
    {
        Volatile.Write(ref _upcoming, _successor);
        // A share's parts are neighbours: see TeamJob.IsSplit.
        int shares = parts % _places == 0 ? _places : 1, own = part / (parts / shares), ownEnd = Share(_rowTiles, own + 1, shares);
        int first = Share(_rowTiles, part, parts), end = Share(_rowTiles, part + 1, parts), start = 0;
        for (int i = 0; i < TargetCount && first < end; i++)
        {
            ref PackedTarget target = ref _targets[i];
            int tiles = (target.Rows + 15) / 16;
            byte* x = _tiles + _lists[target.Tokens].Offset;
            PackedRun run = RunOf(in target);
            while (first < end && first < start + tiles)
            {
                int count = Math.Min(PackedKernel.MostTiles, Math.Min(end, start + tiles) - first), tile = first - start;
                first += count;
                PackedRun next = first >= ownEnd ? Begin(_successor, own, shares) : first == start + tiles ? RunOf(in _targets[i + 1]) : run.From(tile + count);
                if (next.Tiles == null) next = run.From(tile + count);
                Multiply(in target, x, tile, count, next, results);
            }

            start += tiles;
        }
    }

    // Products of some tiles with each token in turn, for all but the first of which the tiles are in a cache.
    private void Multiply(in PackedTarget target, byte* x, int tile, int count, PackedRun next, float* results)
    {
        byte* tiles = target.Tiles + ((long)tile * target.Blocks * target.Kernel.TileBytes);
        long tokenBytes = (long)_columns / 32 * _lists[target.Tokens].RunBytes;
        for (int token = 0; token < target.Count; token++, x += tokenBytes)
        {
            target.Kernel.Multiply(tiles, count, target.Blocks, x, next.Tiles, next.RowTileBytes, results);
            for (int t = 0; t < count; t++)
                Finish(in target, results + (16 * t), token, 1, tile + t);
        }
    }

    // What a share of a product begins with; without tiles if that is not known.
    private static PackedRun Begin(PackedRun[] runs, int share, int shares)
    {
        int tiles = 0;
        foreach (PackedRun run in runs)
            tiles += run.RowTiles;
        int first = Share(tiles, share, shares);
        foreach (PackedRun run in runs)
        {
            if (first < run.RowTiles) return run.From(first);
            first -= run.RowTiles;
        }

        return default;
    }
}
