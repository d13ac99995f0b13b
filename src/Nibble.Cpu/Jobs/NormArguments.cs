using Nibble.Core.Compute;
using Nibble.Cpu.Kernels;

namespace Nibble.Cpu.Jobs;

/// <summary>What <see cref="Backend.Norm"/> is given beside its rows.</summary>
internal readonly unsafe struct NormArguments
{
    private readonly NormOptions _options;
    private readonly float* _gain, _bias;
    private readonly int _size, _gainStep, _biasStep;

    /// <summary>Arguments that were checked.</summary>
    /// <param name="options">How.</param>
    /// <param name="size">Columns that are normed together.</param>
    /// <param name="columns">Columns of a row.</param>
    /// <param name="gain">As for the operation.</param>
    /// <param name="bias">As for the operation.</param>
    public NormArguments(in NormOptions options, int size, int columns, Weight? gain, Weight? bias)
    {
        (_options, _size, Groups) = (options, size, size == 0 ? 0 : columns / size);
        _gain = gain is null ? null : CpuWeight.Of(gain).Vector;
        _bias = bias is null ? null : CpuWeight.Of(bias).Vector;
        (_gainStep, _biasStep) = (Step(gain), Step(bias));

        // A vector as long as a group serves every group.
        int Step(Weight? vector) => vector is null || vector.Rows * vector.Columns == size ? 0 : size;
    }

    /// <summary>Groups of a row.</summary>
    public int Groups { get; }

    /// <summary>Norms a group.</summary>
    /// <param name="kernels">The path's kernels.</param>
    /// <param name="x">A row.</param>
    /// <param name="group">The group.</param>
    /// <param name="y">The row that it is written to.</param>
    public void Run(CpuKernels kernels, float* x, int group, float* y)
    {
        long start = (long)group * _size;
        kernels.Norm(x + start, in _options, Part(_gain, group * (long)_gainStep), Part(_bias, group * (long)_biasStep), y + start, _size);
    }

    private static float* Part(float* vector, long start) => vector == null ? null : vector + start;
}
