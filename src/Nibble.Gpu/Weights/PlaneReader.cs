using System.Runtime.InteropServices;
using Nibble.Core.Compute;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;

namespace Nibble.Gpu.Weights;

/// <summary>Reads rows of one format of files as rows of planes. Values stay what they were.</summary>
internal abstract class PlaneReader(PlaneFormat planes)
{
    private static readonly float[] s_noTable = new float[16];

    /// <summary>The planes.</summary>
    public PlaneFormat Planes { get; } = planes;

    /// <summary>[16] what codes stand for, where <see cref="PlaneFormat.HasTable"/>.</summary>
    public virtual float[] Table => s_noTable;

    /// <summary>Reads one row.</summary>
    /// <param name="source">The weights.</param>
    /// <param name="row">Row, counted over all matrices.</param>
    /// <param name="to">Codes and scales, overwritten.</param>
    public abstract void Read(IWeightSource source, long row, PlaneRow to);

    /// <summary>The reader of some weights. Where there is no other, they are widened to float32.</summary>
    public static PlaneReader Of(IWeightSource source) =>
        source is EncodedTensor encoded ? EncodedPlanes.Find(encoded) ?? FloatPlanes.Widened
        : source.IsStored ? OfFormat(source.Format) ?? FloatPlanes.Widened
        : FloatPlanes.Widened;

    /// <summary>The reader of a block format, or null.</summary>
    public static PlaneReader? OfFormat(BlockFormat format) => format.Name switch
    {
        "F32" => FloatPlanes.Widened,
        "F16" => FloatPlanes.Half,
        "BF16" => FloatPlanes.UpperHalf,
        _ => BlockPlanes.Find(format),
    };
}

/// <summary>Values as they are: halves and BF16 where rows are stored so, anything else as float32.</summary>
internal sealed class FloatPlanes : PlaneReader
{
    private FloatPlanes(PlaneCode code)
        : base(new PlaneFormat(code))
    {
    }

    /// <summary>float32, of anything.</summary>
    public static FloatPlanes Widened { get; } = new(PlaneCode.Single);

    /// <summary>Stored halves.</summary>
    public static FloatPlanes Half { get; } = new(PlaneCode.Half);

    /// <summary>Stored BF16.</summary>
    public static FloatPlanes UpperHalf { get; } = new(PlaneCode.UpperHalf);

    /// <inheritdoc/>
    public override void Read(IWeightSource source, long row, PlaneRow to)
    {
        if (Planes.Code == PlaneCode.Single) source.CopyRow(row, to.Plane<float>(0));
        else source.Row(row).CopyTo(to.Plane<byte>(0));
    }
}

/// <summary>Stored blocks of one type.</summary>
/// <typeparam name="TBlock">The block.</typeparam>
internal abstract class BlockPlanes<TBlock>(PlaneFormat planes) : PlaneReader(planes)
    where TBlock : unmanaged, IBlock<TBlock>
{
    /// <inheritdoc/>
    public override void Read(IWeightSource source, long row, PlaneRow to)
    {
        ReadOnlySpan<TBlock> blocks = MemoryMarshal.Cast<byte, TBlock>(source.Row(row));
        Span<byte> codes = to.Codes;
        for (int b = 0; b < blocks.Length; b++)
            Read(in blocks[b], b, codes.IsEmpty ? [] : codes.Slice(b * TBlock.Values, TBlock.Values), to);
        to.PackCodes();
    }

    /// <summary>Reads one block.</summary>
    /// <param name="block">The block.</param>
    /// <param name="b">Its number in the row.</param>
    /// <param name="codes">Its codes, overwritten.</param>
    /// <param name="to">The row.</param>
    protected abstract void Read(in TBlock block, int b, Span<byte> codes, PlaneRow to);

    /// <summary>Takes nibbles out of bytes: the low ones first, then the high ones.</summary>
    protected static void Nibbles(ReadOnlySpan<byte> bytes, Span<byte> codes)
    {
        for (int j = 0; j < bytes.Length; j++)
        {
            codes[j] = (byte)(bytes[j] & 15);
            codes[j + bytes.Length] = (byte)(bytes[j] >> 4);
        }
    }
}
