using Nibble.Core.Compute;
using Nibble.Cpu.Kernels;

namespace Nibble.Cpu.Jobs;

/// <summary>The rows that matrices are multiplied with: they are there, or each is made when it is put into its tile, so that it is never written to where it would have to be read from again.</summary>
internal readonly unsafe struct ProductInput
{
    private readonly Rows _x, _up;
    private readonly NormArguments _norm;
    private readonly Activation _activation;
    private readonly Origin _origin;

    /// <summary>Rows that are there.</summary>
    public ProductInput(Rows x) => _x = x;

    /// <summary>Norms of rows.</summary>
    public ProductInput(Rows x, in NormArguments norm) => (_x, _norm, _origin) = (x, norm, Origin.Norm);

    /// <summary>activation(gate) x up.</summary>
    public ProductInput(Activation activation, Rows gate, Rows up) => (_activation, _x, _up, _origin) = (activation, gate, up, Origin.Gate);

    private enum Origin
    {
        Stored,
        Norm,
        Gate,
    }

    /// <summary>Values of a row.</summary>
    public int Columns => _x.Columns;

    /// <summary>Whether rows are made.</summary>
    public bool IsMade => _origin != Origin.Stored;

    /// <summary>Work of making a value, in the unit of the operations' work.</summary>
    public int Work => _origin switch { Origin.Norm => 2, Origin.Gate => 8, _ => 0 };

    /// <summary>A row.</summary>
    /// <param name="kernels">The path's kernels.</param>
    /// <param name="row">Its number.</param>
    /// <param name="made">[<see cref="Columns"/>] where it is made; not used where it is there.</param>
    public float* Row(CpuKernels kernels, int row, float* made)
    {
        float* x = _x[row];
        if (_origin == Origin.Stored) return x;
        if (_origin == Origin.Gate)
        {
            kernels.Activate(_activation, x, _up[row], made, Columns);
            return made;
        }

        for (int group = 0; group < _norm.Groups; group++)
            _norm.Run(kernels, x, group, made);
        return made;
    }
}
