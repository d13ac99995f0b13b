using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;

namespace Nibble.Cpu.Packed;

/// <summary>Chooses the kernels of encoded weights.</summary>
internal static class EncodedKernels
{
    // The codes of 16 rows lie in one array while they are packed.
    private static readonly int s_mostColumns = Array.MaxLength / 16;

    // A load asks for a weight's kernels several times, and its table is looked for once.
    private static readonly ConditionalWeakTable<EncodedTensor, StrongBox<TableBytes?>> s_tables = [];

    /// <summary>The kernel of a weight on a path, or null where it has no packed order: fewer than 32 columns share a scale, 16 rows of codes are more than an array holds, or 8 bits do not hold its table.</summary>
    /// <param name="path">Name of one of <see cref="CpuPaths.All"/>.</param>
    /// <param name="weight">The weight.</param>
    public static EncodedKernel? Of(string path, EncodedTensor weight)
    {
        if (weight.ScaleRun % 32 != 0 || weight.Columns > s_mostColumns) return null;
        int columns = weight.ScaleRun % 128 == 0 ? 128 : weight.ScaleRun % 64 == 0 ? 64 : 32;
        TableBytes table = new(default, 1);
        if (weight.Encoding is TableEncoding)
        {
            if (s_tables.GetValue(weight, tensor => new StrongBox<TableBytes?>(TableBytes.Of(tensor))).Value is not { } found) return null;
            table = found;
        }

        return weight.Encoding switch
        {
            TableEncoding => Tiles<TableCodes, NoZeros>(path, columns, table),
            GroupEncoding { Bits: 4, ZeroFormat: null, Zero: 8 } => Tiles<NibbleCodes, ZeroOf8>(path, columns, table),
            GroupEncoding { Bits: 4 } group => group.ZeroFormat is null || group.ZeroFormat == BlockFormats.I8 ? Tiles<NibbleCodes, WholeZeros>(path, columns, table) : Tiles<NibbleCodes, FloatZeros>(path, columns, table),
            GroupEncoding { Bits: 3 } => Tiles<ThreeBitCodes, FloatZeros>(path, columns, table),
            GroupEncoding { Bits: 2 } => Tiles<TwoBitCodes, FloatZeros>(path, columns, table),
            GroupEncoding { Bits: 8, ZeroFormat: null, Zero: 128 } or Int8Encoding => Tiles<ByteCodes, NoZeros>(path, columns, table),
            GroupEncoding { Bits: 8 } => Tiles<ByteCodes, FloatZeros>(path, columns, table),
            Float8Encoding => columns switch { 128 => Floats<Columns128>(path), 64 => Floats<Columns64>(path), _ => Floats<Columns32>(path) },
            _ => null,
        };
    }

    /// <summary>The fastest kernel of a weight on this processor, or null; see <see cref="PackedKernels.Fastest(BlockFormat)"/>.</summary>
    public static EncodedKernel? Fastest(EncodedTensor weight)
    {
        EncodedKernel[] rivals = [.. CpuPaths.All.Where(path => path.IsSupported && path.Name is "avx512" or "avxvnni").Select(path => Of(path.Name, weight)).OfType<EncodedKernel>()];
        return rivals.Length < 2 ? Of(CpuPaths.Choose(null).Name, weight) : PackedKernels.Fastest(rivals);
    }

    private static EncodedKernel Tiles<TCodes, TZeros>(string path, int columns, TableBytes table)
        where TCodes : struct, IEncodedCodes
        where TZeros : struct, IEncodedZeros => columns switch
        {
            128 => Kernel<EncodedTile<TCodes, Columns128, TZeros>>(path, table),
            64 => Kernel<EncodedTile<TCodes, Columns64, TZeros>>(path, table),
            _ => Kernel<EncodedTile<TCodes, Columns32, TZeros>>(path, table),
        };

    // Vectors of a path as PackedKernels.Of has them.
    private static EncodedKernel Kernel<TTile>(string path, TableBytes table)
        where TTile : struct, IEncodedTile => path switch
        {
            "avx512" when TTile.Kind == CodeKind.Bytes && AvxVnni.IsSupported => new EncodedKernel<TTile, Bytes256Dot<WideSums>, Vector256<byte>, Vector256<float>>(table),
            "avx512" => new EncodedKernel<TTile, Bytes512, Vector512<byte>, Vector512<float>>(table),
            "avxvnni" => new EncodedKernel<TTile, Bytes256Dot<NarrowSums>, Vector256<byte>, Vector256<float>>(table),
            "avx2" => new EncodedKernel<TTile, Bytes256, Vector256<byte>, Vector256<float>>(table),
            "neon" => new EncodedKernel<TTile, Bytes128Dot, Vector128<byte>, Vector128<float>>(table),
            _ => new EncodedKernel<TTile, Bytes128, Vector128<byte>, Vector128<float>>(table),
        };

    private static EncodedKernel Floats<TColumns>(string path)
        where TColumns : struct, IEncodedColumns => path switch
        {
            "avx512" => new PackedFloat8<TColumns, Bytes512, Vector512<byte>, Vector512<float>>(),
            "avxvnni" => new PackedFloat8<TColumns, Bytes256Dot<NarrowSums>, Vector256<byte>, Vector256<float>>(),
            "avx2" => new PackedFloat8<TColumns, Bytes256, Vector256<byte>, Vector256<float>>(),
            "neon" => new PackedFloat8<TColumns, Bytes128Dot, Vector128<byte>, Vector128<float>>(),
            _ => new PackedFloat8<TColumns, Bytes128, Vector128<byte>, Vector128<float>>(),
        };
}
