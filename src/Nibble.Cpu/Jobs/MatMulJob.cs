using Nibble.Cpu.Kernels;
using Nibble.Cpu.Threading;

namespace Nibble.Cpu.Jobs;

/// <summary>Products in float32 of one input and several matrices as the file has them: each part is a share of every matrix's rows.</summary>
internal sealed unsafe class MatMulJob : TeamJob
{
    // Multiplications in about 100 microseconds.
    private const long PartWork = 4_000_000;

    private readonly CpuKernels _kernels;
    private readonly Scratch[] _scratch;
    private readonly FormsJob _formsJob;
    private MatMulTarget[] _targets = new MatMulTarget[4];
    private MatMulInput _input;
    private float* _x;
    private long _xStride;
    private int _rows;
    private bool _copies;

    public MatMulJob(CpuKernels kernels, Scratch[] scratch)
    {
        (_kernels, _scratch) = (kernels, scratch);
        _formsJob = new FormsJob(this);
    }

    /// <summary>Matrices of this product.</summary>
    public int TargetCount { get; private set; }

    /// <summary>Multiplications, an estimate of the work.</summary>
    public long Work { get; private set; }

    /// <summary>Work of <see cref="Forms"/> in the same unit.</summary>
    public long FormsWork => (long)_rows * _input.Columns;

    /// <summary>Starts to describe a product.</summary>
    public void Begin(float* x, long stride, int rows, int columns)
    {
        _x = x;
        (_xStride, _rows) = (stride, rows);
        _input = new MatMulInput { Columns = columns, FloatColumns = (columns + 15) & -16 };
        (TargetCount, Work) = (0, 0);
        _copies = _input.FloatColumns != columns;
    }

    /// <summary>Adds a matrix.</summary>
    public void AddTarget(in MatMulTarget target)
    {
        if (TargetCount == _targets.Length) Array.Resize(ref _targets, TargetCount * 2);
        _targets[TargetCount++] = target;
        Work += (long)target.Rows * _input.Columns * target.Count;
    }

    /// <summary>Whether the input needs another form first: <see cref="Forms"/>.</summary>
    public bool NeedsForms => _copies;

    /// <summary>The job that puts the input into the kernels' form.</summary>
    public UnitJob Forms => _formsJob;

    /// <summary>How many parts keep the threads evenly busy without cutting the rows too small.</summary>
    public int Parts(int threads)
    {
        int tiles = 1;
        for (int i = 0; i < TargetCount; i++)
            tiles = Math.Max(tiles, (_targets[i].Rows + 3) / 4);
        return Math.Min(tiles, Math.Max(4 * threads, (int)Math.Min(16 * threads, Work / PartWork)));
    }

    /// <summary>Reserves memory.</summary>
    /// <param name="forms">Memory of the input's forms.</param>
    public void Prepare(Scratch forms)
    {
        _input.X = _copies ? (float*)forms.Reserve((long)_rows * _input.FloatColumns * 4) : _x;
        _input.XStride = _copies ? _input.FloatColumns : _xStride;
        long bytes = 0;
        for (int i = 0; i < TargetCount; i++)
            bytes = Math.Max(bytes, _kernels.MatMulScratchBytes(_input.Columns, _targets[i].Count));
        foreach (Scratch own in _scratch)
            own.Reserve(bytes);
        _formsJob.Prepare(_rows);
    }

    public override void Run(int part, int parts, int thread)
    {
        for (int i = 0; i < TargetCount; i++)
        {
            ref MatMulTarget target = ref _targets[i];
            int tiles = (target.Rows + 3) / 4;
            int first = Share(tiles, part, parts) * 4, end = Math.Min(target.Rows, Share(tiles, part + 1, parts) * 4);
            if (first >= end) continue;
            _kernels.MatMul(in target, in _input, _scratch[thread].Pointer, first, end);
        }
    }

    private void PrepareRow(int row)
    {
        Span<float> copy = new(_input.X + (row * _input.XStride), _input.FloatColumns);
        new Span<float>(_x + (row * _xStride), _input.Columns).CopyTo(copy);
        copy[_input.Columns..].Clear();
    }

    private sealed class FormsJob(MatMulJob product) : UnitJob
    {
        public void Prepare(int rows) => Units = rows;

        protected override void Unit(int unit, int thread) => product.PrepareRow(unit);
    }
}
