using System.Collections.Concurrent;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Nibble.Core.Formats;

namespace Nibble.Cpu.Packed;

/// <summary>The packed formats and, for a kind of vectors, their kernels.</summary>
internal static class PackedKernels
{
    private static readonly ConcurrentDictionary<CodeKind, string> s_fastest = new();

    /// <summary>The kernels of a path: one for each format that has a packed form there.</summary>
    /// <param name="path">Name of one of <see cref="CpuPaths.All"/>.</param>
    public static BlockKernel[] Of(string path) => path switch
    {
        // Products of 8 bits with 8 bits do not fit into the pair products of 512 bits; four products at a time of 256 bits do as much.
        "avx512" => [.. Pairs<Bytes512, Vector512<byte>, Vector512<float>>(), .. AvxVnni.IsSupported ? Whole<Bytes256Dot<WideSums>, Vector256<byte>, Vector256<float>>() : Whole<Bytes512, Vector512<byte>, Vector512<float>>()],
        "avxvnni" => [.. Pairs<Bytes256Dot<NarrowSums>, Vector256<byte>, Vector256<float>>(), .. Whole<Bytes256Dot<NarrowSums>, Vector256<byte>, Vector256<float>>()],
        "avx2" => [.. Pairs<Bytes256, Vector256<byte>, Vector256<float>>(), .. Whole<Bytes256, Vector256<byte>, Vector256<float>>()],
        "neon" => [.. Pairs<Bytes128Dot, Vector128<byte>, Vector128<float>>(), .. Whole<Bytes128Dot, Vector128<byte>, Vector128<float>>()],
        _ => [.. Pairs<Bytes128, Vector128<byte>, Vector128<float>>(), .. Whole<Bytes128, Vector128<byte>, Vector128<float>>()],
    };

    /// <summary>The fastest kernel of a format on this processor, or null: of several kinds of vectors the one that won a measurement of a few milliseconds, once for each kind of codes. All give the same bits.</summary>
    public static BlockKernel? Fastest(BlockFormat format)
    {
        BlockKernel[] rivals = [.. CpuPaths.All.Where(path => path.IsSupported && path.Name is "avx512" or "avxvnni").Select(path => Find(Of(path.Name), format)).OfType<BlockKernel>()];
        return rivals.Length < 2 ? Find(Of(CpuPaths.Choose(null).Name), format) : Fastest(rivals);
    }

    /// <summary>The fastest of several kernels of the same weights, as <see cref="Fastest(BlockFormat)"/> chooses it.</summary>
    public static TKernel Fastest<TKernel>(TKernel[] rivals)
        where TKernel : PackedKernel
    {
        string fastest = s_fastest.GetOrAdd(rivals[0].Kind, _ => KernelContest.Fastest(rivals).Instructions);
        return rivals.First(rival => rival.Instructions == fastest);
    }

    /// <summary>The kernel of a format, or null.</summary>
    public static BlockKernel? Find(BlockKernel[] kernels, BlockFormat format)
    {
        foreach (BlockKernel kernel in kernels)
            if (kernel.Format == format) return kernel;
        return null;
    }

    private static BlockKernel[] Pairs<TLanes, TBytes, TVector>()
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
    [
        new PackedKernel<PackedQ4_0, TLanes, TBytes, TVector>(),
        new PackedKernel<PackedQ4_1, TLanes, TBytes, TVector>(),
        new PackedKernel<PackedQ5_0, TLanes, TBytes, TVector>(),
        new PackedKernel<PackedQ5_1, TLanes, TBytes, TVector>(),
        new PackedKernel<PackedQ2_K, TLanes, TBytes, TVector>(),
        new PackedKernel<PackedQ3_K, TLanes, TBytes, TVector>(),
        new PackedKernel<PackedQ4_K, TLanes, TBytes, TVector>(),
        new PackedKernel<PackedQ5_K, TLanes, TBytes, TVector>(),
        new PackedKernel<PackedQ6_K, TLanes, TBytes, TVector>(),
        new PackedKernel<PackedMXFP4, TLanes, TBytes, TVector>(),
        new PackedKernel<PackedTQ1_0, TLanes, TBytes, TVector>(),
        new PackedKernel<PackedTQ2_0, TLanes, TBytes, TVector>(),
        new PackedFloats<PackedF16, TLanes, TBytes, TVector>(),
        new PackedFloats<PackedBF16, TLanes, TBytes, TVector>(),
    ];

    private static BlockKernel[] Whole<TLanes, TBytes, TVector>()
        where TLanes : struct, IByteLanes<TBytes, TVector>
        where TBytes : struct
        where TVector : struct =>
    [
        new PackedKernel<PackedQ8_0, TLanes, TBytes, TVector>(),
        new PackedKernel<PackedIQ4_NL, TLanes, TBytes, TVector>(),
        new PackedKernel<PackedIQ4_XS, TLanes, TBytes, TVector>(),
    ];
}
