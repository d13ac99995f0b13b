using Nibble.Core.Encodings;
using Nibble.Cpu.Packed;
using Nibble.Cpu.Threading;

namespace Nibble.Cpu.Jobs;

/// <summary>Packs a weight, 16 rows a unit. Stored rows are read from the file for it.</summary>
internal sealed unsafe class PackJob(Scratch[] scratch) : UnitJob
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
        foreach (Scratch own in scratch)
            own.Reserve(16 * weight.RowBytes);
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

        int count = Math.Min(16, _weight.Rows - first);
        byte* read = scratch[thread].Pointer;
        _weight.Source.ReadRows(((long)matrix * _weight.Rows) + first, new Span<byte>(read, (int)(count * _weight.RowBytes)));
        byte** rows = stackalloc byte*[16];
        for (int row = 0; row < 16; row++)
            rows[row] = row < count ? read + (row * _weight.RowBytes) : null;
        if (!((BlockKernel)_packed.Kernel).Pack(rows, _packed.Blocks, tiles)) Interlocked.Exchange(ref _misfits, 1);
    }
}
