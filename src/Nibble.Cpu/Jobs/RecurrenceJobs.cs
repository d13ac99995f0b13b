using Nibble.Core.Compute;
using Nibble.Cpu.Kernels;
using Nibble.Cpu.Threading;

namespace Nibble.Cpu.Jobs;

/// <summary>Work on the rows of heads' states: some neighbouring rows of a head at a time, all tokens one after the other.</summary>
internal abstract class StateJob : UnitJob
{
    private const int RunRows = 32;

    private int _size, _runs;

    /// <summary>Sets the shape.</summary>
    protected void Shape(int heads, int size)
    {
        (_size, _runs) = (size, (size + RunRows - 1) / RunRows);
        Units = heads * _runs;
    }

    protected sealed override void Unit(int unit, int thread)
    {
        int head = unit / _runs, first = unit % _runs * RunRows;
        Advance(head, (head * _size) + first, Math.Min(RunRows, _size - first), thread);
    }

    /// <summary>Does some rows of a head.</summary>
    protected abstract void Advance(int head, int first, int count, int thread);
}

/// <summary><see cref="Backend.DeltaRule"/>.</summary>
internal sealed unsafe class DeltaRuleJob(CpuKernels kernels, Scratch[] scratch) : StateJob
{
    private Rows _queries, _keys, _values, _steps, _betas, _state, _y;
    private float* _rates;
    private int _heads, _keyHeads, _keySize;
    private bool _isInterleaved;

    /// <summary>Describes the operation.</summary>
    public void Prepare(Tensor queries, Tensor keys, Tensor values, Tensor steps, float* rates, Tensor betas, bool isInterleaved, Tensor state, Tensor y, int keyHeads)
    {
        (_queries, _keys, _values, _steps, _betas, _state, _y) =
            (new Rows(queries), new Rows(keys), new Rows(values), new Rows(steps), new Rows(betas), new Rows(state), new Rows(y));
        _rates = rates;
        (_heads, _keyHeads, _keySize, _isInterleaved) = (betas.Columns, keyHeads, state.Columns, isInterleaved);
        foreach (Scratch own in scratch)
            own.Reserve(8L * _keySize);
        Shape(_heads, _heads == 0 ? 0 : state.Rows / _heads);
    }

    protected override void Advance(int head, int first, int count, int thread)
    {
        float* factors = (float*)scratch[thread].Pointer, ones = factors + _keySize;
        new Span<float>(ones, _keySize).Fill(1);
        long place = (long)(_isInterleaved ? head % _keyHeads : head / (_heads / _keyHeads)) * _keySize;
        float scale = 1 / MathF.Sqrt(_keySize);
        for (int t = 0; t < _queries.Count; t++)
        {
            float* key = _keys[t] + place, query = _queries[t] + place;
            if (_steps.Columns == _heads)
            {
                kernels.Exp(_steps[t] + head, _rates[head], factors, 1);
                new Span<float>(factors, _keySize).Fill(factors[0]);
            }
            else
            {
                kernels.Exp(_steps[t] + ((long)head * _keySize), _rates[head], factors, _keySize);
            }

            for (int j = first; j < first + count; j++)
            {
                float* row = _state[j];
                float delta = _betas[t][head] * (_values[t][j] - kernels.Advance(row, factors, 0, key, key, _keySize));
                _y[t][j] = kernels.Advance(row, ones, delta, key, query, _keySize) * scale;
            }
        }
    }
}

/// <summary><see cref="Backend.StateSpaceScan"/>.</summary>
internal sealed unsafe class StateSpaceJob(CpuKernels kernels, Scratch[] scratch) : StateJob
{
    private Rows _x, _steps, _inputs, _outputs, _state, _y;
    private float* _rates, _skips;
    private int _headsInGroup, _stateSize;
    private bool _hasRateEach;

    /// <summary>Describes the operation.</summary>
    public void Prepare(Tensor x, Tensor steps, CpuWeight rates, Tensor inputs, Tensor outputs, float* skips, Tensor state, Tensor y, int groups)
    {
        (_x, _steps, _inputs, _outputs, _state, _y) = (new Rows(x), new Rows(steps), new Rows(inputs), new Rows(outputs), new Rows(state), new Rows(y));
        _rates = rates.Vector;
        _skips = skips;
        (_headsInGroup, _stateSize, _hasRateEach) = (steps.Columns / groups, state.Columns, (long)rates.Rows * rates.Columns != steps.Columns);
        foreach (Scratch own in scratch)
            own.Reserve(4L * _stateSize);
        Shape(steps.Columns, steps.Columns == 0 ? 0 : state.Rows / steps.Columns);
    }

    protected override void Advance(int head, int first, int count, int thread)
    {
        float* factors = (float*)scratch[thread].Pointer;
        long place = (long)(head / _headsInGroup) * _stateSize;
        for (int t = 0; t < _x.Count; t++)
        {
            float step = _steps[t][head];
            if (_hasRateEach)
            {
                kernels.Exp(_rates + ((long)head * _stateSize), step, factors, _stateSize);
            }
            else
            {
                kernels.Exp(_rates + head, step, factors, 1);
                new Span<float>(factors, _stateSize).Fill(factors[0]);
            }

            for (int j = first; j < first + count; j++)
            {
                float value = _x[t][j];
                _y[t][j] = kernels.Advance(_state[j], factors, step * value, _inputs[t] + place, _outputs[t] + place, _stateSize) + (_skips[head] * value);
            }
        }
    }
}
