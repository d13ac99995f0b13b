using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace Nibble.Cpu.Packed;

/// <summary>Tells the processor what one pass over weights reads next.</summary>
/// <remarks>
/// The processor's own read-ahead ends at each page of 4 KiB and does not keep enough lines under way while products are computed. On a Sapphire Rapids core that reads 9.5 GB/s at best,
/// products of one token with Q4_0 and Q8_0 weights in memory went from 6.0 and 6.3 to 8.5 and 9.0 GB/s; at 4 KiB ahead 8.4 and 8.2, at 2 KiB 7.5 and 7.2, into the second-level cache alone 7.4 and 8.0.
/// Arm's instruction is not to be had in .NET, and its cores read ahead over pages.
/// </remarks>
internal static unsafe class ReadAhead
{
    private const int Distance = 8192;

    /// <summary>How far ahead to ask.</summary>
    /// <remarks>Several rows are read side by side. Near their ends it is their successors that are asked for: the first row's is <paramref name="next"/> away from it, and each further row's by <paramref name="step"/> more.</remarks>
    /// <param name="left">Bytes of a row from where it is read.</param>
    /// <param name="rowBytes">Bytes of a row.</param>
    /// <param name="next">From the beginning of the first row to that of its successor.</param>
    /// <param name="step">On entry how many bytes more a successor has than its row; 0 as long as the rows themselves are asked for.</param>
    /// <returns>Bytes from where the first row is read to what to ask for.</returns>
    public static long Ahead(long left, long rowBytes, long next, ref long step)
    {
        if (left <= Distance) return next + Distance - rowBytes;
        step = 0;
        return Distance;
    }

    /// <summary>Asks for lines. They may lie behind the end of what is mapped.</summary>
    /// <param name="at">The first.</param>
    /// <param name="bytes">How much; at most 576.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Of(byte* at, int bytes)
    {
        if (!Sse.IsSupported) return;
        Sse.Prefetch0(at);
        if (bytes > 64) Sse.Prefetch0(at + 64);
        if (bytes > 128) Sse.Prefetch0(at + 128);
        if (bytes > 192) Sse.Prefetch0(at + 192);
        if (bytes > 256) Sse.Prefetch0(at + 256);
        if (bytes > 320) Sse.Prefetch0(at + 320);
        if (bytes > 384) Sse.Prefetch0(at + 384);
        if (bytes > 448) Sse.Prefetch0(at + 448);
        if (bytes > 512) Sse.Prefetch0(at + 512);
    }

    /// <summary>Asks for lines, to lie in the second-level cache. They may lie behind the end of what is mapped.</summary>
    /// <param name="at">The first.</param>
    /// <param name="bytes">How much.</param>
    public static void Whole(byte* at, int bytes)
    {
        if (!Sse.IsSupported) return;
        for (int i = 0; i < bytes; i += 64)
            Sse.Prefetch1(at + i);
    }
}
