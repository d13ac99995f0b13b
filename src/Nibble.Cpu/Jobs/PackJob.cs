using Nibble.Core.Encodings;
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
        byte* tiles = _packed.Matrix(matrix) + (first / 16 * _packed.RowTileBytes);
        if (_weight!.Source is EncodedTensor encoded)
        {
            if (!((EncodedKernel)_packed.Kernel).Pack(encoded, ((long)matrix * _weight.Rows) + first, Math.Min(16, _weight.Rows - first), tiles)) Interlocked.Exchange(ref _misfits, 1);
            return;
        }

        byte** rows = stackalloc byte*[16];
        byte* start = _weight.Matrix(matrix);
        for (int row = 0; row < 16; row++)
            rows[row] = first + row < _weight.Rows ? start + ((first + row) * _weight.RowBytes) : null;
        if (!((BlockKernel)_packed.Kernel).Pack(rows, _packed.Blocks, tiles)) Interlocked.Exchange(ref _misfits, 1);
    }
}
