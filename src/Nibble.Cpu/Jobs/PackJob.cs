using Nibble.Cpu.Packed;
using Nibble.Cpu.Threading;

namespace Nibble.Cpu.Jobs;

/// <summary>Packs a weight, 16 rows a unit.</summary>
internal sealed unsafe class PackJob : UnitJob
{
    private CpuWeight? _weight;
    private PackedMatrix? _packed;
    private int _misfits;

    /// <summary>Whether all scales have their place in the packed order.</summary>
    public bool Fits => Volatile.Read(ref _misfits) == 0;

    /// <summary>Sets what to pack.</summary>
    public void Prepare(CpuWeight weight, PackedMatrix packed)
    {
        (_weight, _packed, _misfits) = (weight, packed, 0);
        Units = packed.RowTiles * weight.Matrices;
    }

    /// <summary>Lets go of the weight.</summary>
    public void Finish() => (_weight, _packed) = (null, null);

    protected override void Unit(int unit, int thread)
    {
        int matrix = unit / _packed!.RowTiles, first = unit % _packed.RowTiles * 16;
        byte** rows = stackalloc byte*[16];
        byte* start = _weight!.Matrix(matrix);
        for (int row = 0; row < 16; row++)
            rows[row] = first + row < _weight.Rows ? start + ((first + row) * _weight.RowBytes) : null;
        if (!_packed.Kernel.Pack(rows, _packed.Blocks, _packed.Matrix(matrix) + (first / 16 * _packed.RowTileBytes))) Interlocked.Exchange(ref _misfits, 1);
    }
}
