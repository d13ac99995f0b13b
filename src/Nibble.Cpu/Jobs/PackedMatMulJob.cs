using System.Runtime.Intrinsics;
using Nibble.Cpu.Kernels;
using Nibble.Cpu.Packed;
using Nibble.Cpu.Threading;

namespace Nibble.Cpu.Jobs;

/// <summary>One packed matrix of a product, the tokens it is multiplied with, and where the results go.</summary>
internal unsafe struct PackedTarget
{
    /// <summary>The format's kernels.</summary>
    public PackedKernel Kernel;

    /// <summary>What <see cref="Tiles"/> are the whole of; null if they are one matrix of several.</summary>
    public PackedMatrix? Matrix;

    /// <summary>The first tile.</summary>
    public byte* Tiles;

    /// <summary>[columns] the input's column that each packed one is multiplied with, -1 for none; null where they are in order.</summary>
    public int* Columns;

    /// <summary>Columns that are added in float32, or null.</summary>
    public OutlierColumns? Outliers;

    /// <summary>Tiles in a row.</summary>
    public int Blocks;

    /// <summary>Rows.</summary>
    public int Rows;

    /// <summary>What the products are multiplied by.</summary>
    public float Scale;

    /// <summary>What tokens are rounded to multiples of, or 0 where 32 values have a scale of their own.</summary>
    public float InputScale;

    /// <summary>The first output row.</summary>
    public float* Y;

    /// <summary>Values from one output row to the next.</summary>
    public long YStride;

    /// <summary>[<see cref="Count"/>] rows of the input.</summary>
    public int* Inputs;

    /// <summary>[<see cref="Count"/>] rows of the output.</summary>
    public int* Outputs;

    /// <summary>Tokens.</summary>
    public int Count;

    /// <summary>Which of the product's lists of tokens.</summary>
    public int Tokens;
}

/// <summary>Products of one input and several packed matrices: each list of tokens is put into <see cref="TokenTiles"/> once, for which its rows may be made, then each part is a share of every matrix's rows.</summary>
internal sealed unsafe partial class PackedMatMulJob : TeamJob
{
    // Multiplications in about 100 microseconds.
    private const long PartWork = 10_000_000;

    // Rows that are made, or put into a tile, at a time.
    private const int MadeRows = 4;

    private readonly CpuKernels _kernels;
    private readonly Scratch[] _scratch;
    private readonly int _places;
    private readonly TokensJob _tokensJob;
    private PackedTarget[] _targets = new PackedTarget[4];
    private TokenList[] _lists = new TokenList[4];
    private int _listCount, _tokenTiles, _columns;
    private ProductInput _input;
    private byte* _tiles;

    /// <summary>A job without a product.</summary>
    /// <param name="kernels">What makes rows.</param>
    /// <param name="scratch">Memory of each thread.</param>
    /// <param name="places">How many of them run at a time (<see cref="ThreadTeam.Places"/>).</param>
    public PackedMatMulJob(CpuKernels kernels, Scratch[] scratch, int places)
    {
        (_kernels, _scratch, _places) = (kernels, scratch, places);
        _tokensJob = new TokensJob(this);
    }

    /// <summary>Matrices of this product.</summary>
    public int TargetCount { get; private set; }

    /// <summary>Multiplications, an estimate of the work.</summary>
    public long Work { get; private set; }

    /// <summary>The job that puts tokens into tiles; it comes first.</summary>
    public UnitJob Tokens => _tokensJob;

    /// <summary>Work of <see cref="Tokens"/> in the same unit.</summary>
    public long TokensWork { get; private set; }

    /// <summary>Starts to describe a product.</summary>
    public void Begin(in ProductInput input)
    {
        (_input, _columns) = (input, input.Columns);
        (TargetCount, Work, TokensWork, _listCount, _tokenTiles) = (0, 0, 0, 0, 0);
    }

    /// <summary>Adds a matrix; it has no <see cref="PackedTarget.Outliers"/> where the input's rows are made.</summary>
    public void AddTarget(PackedTarget target)
    {
        if (target.Count == 0) return;
        if (TargetCount == _targets.Length) Array.Resize(ref _targets, TargetCount * 2);
        target.Tokens = ListOf(in target);
        _targets[TargetCount++] = target;
        Work += (long)target.Rows * _columns * target.Count;
    }

    /// <summary>How many parts keep the threads evenly busy without cutting the rows too small.</summary>
    public int Parts()
    {
        if (_isRow) return RowParts();
        int tiles = 1, panelTiles = 1;
        for (int i = 0; i < TargetCount; i++)
        {
            tiles = Math.Max(tiles, (_targets[i].Rows + 15) / 16);
            panelTiles = Math.Max(panelTiles, SizeOf(in _targets[i]).Tiles);
        }

        int most = Math.Max(4 * _places, (int)Math.Min(16 * _places, Work / PartWork));
        int parts = Math.Min(Math.Max(Math.Min(tiles, 2 * _places), tiles / panelTiles), most);
        return parts <= _places ? parts : parts / _places * _places;
    }

    /// <summary>Reserves memory.</summary>
    /// <param name="forms">Memory of the tokens' tiles.</param>
    public void Prepare(Scratch forms)
    {
        PrepareRow();
        long bytes = 0;
        for (int i = 0; i < _listCount; i++)
        {
            _lists[i].Offset = bytes;
            bytes += (((long)_lists[i].Places * (_columns / 32) * _lists[i].RunBytes) + 63) & -64;
        }

        _tiles = forms.Reserve(bytes);
        long panel = 0, rows = _input.IsMade ? MadeRows : 0;
        for (int i = 0; i < _listCount; i++)
            if (_lists[i].Columns != null) rows = MadeRows + 1;
        for (int i = 0; i < TargetCount; i++)
            if (!IsFew(_targets[i].Count)) panel = Math.Max(panel, ChunkBytes(in _targets[i]));
        foreach (Scratch own in _scratch)
            own.Reserve((PackedKernel.ResultCount * 4) + Math.Max(panel, rows * _columns * sizeof(float)));
        _tokensJob.Prepare(_tokenTiles);
    }

    public override void Run(int part, int parts, int thread)
    {
        float* results = (float*)_scratch[thread].Pointer;
        if (_isRow)
        {
            RunRow(part, parts, results);
            return;
        }

        byte* panel = (byte*)(results + PackedKernel.ResultCount);
        for (int i = 0; i < TargetCount; i++)
        {
            ref PackedTarget target = ref _targets[i];
            int tiles = (target.Rows + 15) / 16, together = SizeOf(in target).Together, first = Share(tiles, part, parts, together), end = Share(tiles, part + 1, parts, together);
            byte* x = _tiles + _lists[target.Tokens].Offset;
            if (IsFew(target.Count)) Few(in target, x, first, end, results);
            else Many(in target, x, first, end, panel, results);
        }
    }

    private void Few(in PackedTarget target, byte* x, int first, int end, float* results)
    {
        PackedRun run = RunOf(in target);
        for (int count; first < end; first += count)
        {
            count = Math.Min(PackedKernel.MostTiles, end - first);
            Multiply(in target, x, first, count, run.From(first + count), results);
        }
    }

    private void Finish(in PackedTarget target, float* results, int token, int tokens, int tile)
    {
        float scale = target.Scale * target.Kernel.Factor;
        int row = tile * 16, rows = Math.Min(16, target.Rows - row);
        for (int t = 0; t < tokens; t++, results += 16)
        {
            float* y = target.Y + (target.Outputs[token + t] * target.YStride) + row;
            if (target.Outliers is { } outliers)
            {
                Vector512<float> sum = Vector512.Load(results) * target.Kernel.Factor;
                outliers.Add(tile, _input.Row(_kernels, target.Inputs[token + t], null), ref sum);
                (sum * target.Scale).Store(results);
                new Span<float>(results, rows).CopyTo(new Span<float>(y, rows));
                continue;
            }

            if (rows == 16)
            {
                (Vector512.Load(results) * scale).Store(y);
                continue;
            }

            for (int r = 0; r < rows; r++)
                y[r] = scale * results[r];
        }
    }

    // Matrices that are multiplied with the same tokens share their tiles.
    private int ListOf(in PackedTarget target)
    {
        int runBytes = target.Kernel.Kind == CodeKind.Floats ? TokenTiles.FloatRunBytes : TokenTiles.RunBytes;
        for (int i = 0; i < _listCount; i++)
            if (_lists[i].Count == target.Count && _lists[i].RunBytes == runBytes && _lists[i].Columns == target.Columns && _lists[i].InputScale == target.InputScale && (_lists[i].Inputs == target.Inputs || new Span<int>(_lists[i].Inputs, target.Count).SequenceEqual(new Span<int>(target.Inputs, target.Count)))) return i;
        if (_listCount == _lists.Length) Array.Resize(ref _lists, _listCount * 2);
        _lists[_listCount] = new TokenList { Inputs = target.Inputs, Columns = target.Columns, InputScale = target.InputScale, Count = target.Count, FirstTile = _tokenTiles, RunBytes = runBytes };
        _tokenTiles += TokenTileCount(target.Count);
        TokensWork += (long)target.Count * _columns * (16 + _input.Work);
        return _listCount++;
    }

    private void PutTokens(int tile, int thread)
    {
        int list = _listCount - 1;
        while (_lists[list].FirstTile > tile)
            list--;
        PutTile(in _lists[list], (tile - _lists[list].FirstTile) * (IsFew(_lists[list].Count) ? 1 : 8), (float*)_scratch[thread].Pointer);
    }

    private float* Gather(float* x, int* columns, float* gathered)
    {
        for (int c = 0; c < _columns; c++)
            gathered[c] = columns[c] < 0 ? 0 : x[columns[c]];
        return gathered;
    }

    private struct TokenList
    {
        public int* Inputs, Columns;
        public int Count, FirstTile, RunBytes;
        public float InputScale;
        public long Offset;

        // Of few tokens each has a tile of its own.
        public readonly int Places => IsFew(Count) ? Count : TokenTiles.Places(Count);
    }

    private sealed class TokensJob(PackedMatMulJob product) : UnitJob
    {
        public void Prepare(int tiles) => Units = tiles;

        protected override void Unit(int unit, int thread) => product.PutTokens(unit, thread);
    }
}
