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
    private Form[] _forms = new Form[2];
    private int _formCount, _copies;
    private MatMulInput _input;
    private float* _x;
    private long _xStride;
    private int _rows;

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
    public long FormsWork => (long)_rows * _input.Columns * _copies;

    /// <summary>Starts to describe a product.</summary>
    public void Begin(float* x, long stride, int rows, int columns)
    {
        _x = x;
        (_xStride, _rows) = (stride, rows);
        _input = new MatMulInput { Columns = columns, FloatColumns = (columns + 15) & -16 };
        (TargetCount, Work, _formCount) = (0, 0, 0);
    }

    /// <summary>Adds a matrix.</summary>
    public void AddTarget(in MatMulTarget target)
    {
        if (TargetCount == _targets.Length) Array.Resize(ref _targets, TargetCount * 2);
        _targets[TargetCount] = target;
        _targets[TargetCount++].Form = FormOf(target.InputScale);
        Work += (long)target.Rows * _input.Columns * target.Count;
    }

    /// <summary>Whether the input needs another form first: <see cref="Forms"/>.</summary>
    public bool NeedsForms => _copies > 0;

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
        long formBytes = (((long)_rows * _input.FloatColumns * 4) + 63) & -64;
        _copies = 0;
        for (int i = 0; i < _formCount; i++)
            if (IsCopy(in _forms[i])) _copies++;
        byte* next = _copies > 0 ? forms.Reserve(_copies * formBytes) : null;
        for (int i = 0; i < _formCount; i++)
        {
            ref Form form = ref _forms[i];
            bool isCopy = IsCopy(in form);
            form.X = isCopy ? (float*)next : _x;
            form.XStride = isCopy ? _input.FloatColumns : _xStride;
            if (isCopy) next += formBytes;
        }

        long bytes = 0;
        for (int i = 0; i < TargetCount; i++)
            bytes = Math.Max(bytes, _kernels.MatMulScratchBytes(_input.Columns, _targets[i].Count));
        foreach (Scratch own in _scratch)
            own.Reserve(bytes);
        _formsJob.Prepare(_formCount * _rows);
    }

    public override void Run(int part, int parts, int thread)
    {
        for (int i = 0; i < TargetCount; i++)
        {
            ref MatMulTarget target = ref _targets[i];
            int tiles = (target.Rows + 3) / 4;
            int first = Share(tiles, part, parts) * 4, end = Math.Min(target.Rows, Share(tiles, part + 1, parts) * 4);
            if (first >= end) continue;
            MatMulInput input = _input;
            input.X = _forms[target.Form].X;
            input.XStride = _forms[target.Form].XStride;
            _kernels.MatMul(in target, in input, _scratch[thread].Pointer, first, end);
        }
    }

    // Matrices whose activations are rounded alike share their form.
    private int FormOf(float inputScale)
    {
        for (int i = 0; i < _formCount; i++)
            if (_forms[i].InputScale == inputScale) return i;
        if (_formCount == _forms.Length) Array.Resize(ref _forms, _formCount * 2);
        _forms[_formCount] = new Form { InputScale = inputScale };
        return _formCount++;
    }

    private bool IsCopy(in Form form) => form.InputScale != 0 || _input.FloatColumns != _input.Columns;

    private void PrepareRow(int unit)
    {
        ref Form form = ref _forms[unit / _rows];
        if (!IsCopy(in form)) return;
        int row = unit % _rows;
        float* x = _x + (row * _xStride), to = form.X + (row * form.XStride);
        if (form.InputScale == 0) new Span<float>(x, _input.Columns).CopyTo(new Span<float>(to, _input.Columns));
        else InputRows.Round(x, _input.Columns, form.InputScale, to);
        new Span<float>(to + _input.Columns, _input.FloatColumns - _input.Columns).Clear();
    }

    /// <summary>The input as some matrices are multiplied with it.</summary>
    private struct Form
    {
        public float InputScale;
        public float* X;
        public long XStride;
    }

    private sealed class FormsJob(MatMulJob product) : UnitJob
    {
        public void Prepare(int units) => Units = units;

        protected override void Unit(int unit, int thread) => product.PrepareRow(unit);
    }
}
