using Nibble.Core.Compute;
using Nibble.Core.Encodings;

namespace Nibble.Gpu.Weights;

/// <summary>Encoded tensors of up to 4 bits, or 8: codes with scales, and zeros or a table, whose columns are in order and all encoded.</summary>
internal sealed class EncodedPlanes : PlaneReader
{
    private readonly int _repeats;

    private EncodedPlanes(EncodedTensor tensor, PlaneFormat planes)
        : base(planes)
    {
        _repeats = tensor.ScaleRun / planes.Group;
        Table = planes.HasTable ? tensor.CodeValues.ToArray() : base.Table;
    }

    /// <inheritdoc/>
    public override float[] Table { get; }

    /// <summary>The reader of a tensor, or null where it has columns in another order, outliers, runs that are no multiple of 8, or floats of 8 bits.</summary>
    public static PlaneReader? Find(EncodedTensor tensor)
    {
        int bits = tensor.Encoding.BitsPerCode, table = tensor.CodeValues.Length;
        if (!tensor.ColumnOrder.IsEmpty || !tensor.OutlierColumns.IsEmpty || tensor.ScaleRun % 8 != 0 || (bits > 4 && bits != 8) || (table > 0 && (table != 16 || bits != 4))) return null;

        // A few lengths of groups, so that there are few kernels; the scale of a longer run is repeated.
        int group = 256;
        while (tensor.ScaleRun % group != 0)
            group /= 2;
        PlaneCode code = bits == 8 ? PlaneCode.SignedByte : PlaneCode.Bits4;
        return new EncodedPlanes(tensor, new PlaneFormat(code, table > 0 ? PlaneScale.Single : PlaneScale.SingleAndZero, group, 0, table > 0));
    }

    /// <inheritdoc/>
    public override void Read(IWeightSource source, long row, PlaneRow to)
    {
        EncodedTensor tensor = (EncodedTensor)source;
        bool isByte = Planes.Code == PlaneCode.SignedByte;
        Span<byte> codes = isByte ? to.Plane<byte>(0) : to.Codes;
        tensor.CopyCodes(row, codes[..tensor.Columns]);
        Span<float> scales = new float[tensor.Columns / tensor.ScaleRun], zeros = new float[scales.Length];
        tensor.CopyScales(row, scales, zeros);

        // Bytes count from the middle of their range, and so do their zeros.
        if (isByte)
            foreach (ref byte one in codes)
                one ^= 128;
        for (int run = 0; run < scales.Length; run++)
        {
            to.Plane<float>(2).Slice(run * _repeats, _repeats).Fill(scales[run]);
            if (!Planes.HasTable) to.Plane<float>(3).Slice(run * _repeats, _repeats).Fill(zeros[run] - (isByte ? 128 : 0));
        }

        to.PackCodes();
    }
}
