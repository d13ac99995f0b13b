using System.Diagnostics;
using Nibble.Core.Memory;

namespace Nibble.Cpu.Packed;

/// <summary>Measures which of several kernels multiplies fastest: the order differs from processor to processor.</summary>
internal static unsafe class KernelContest
{
    // 16 rows x 1024 columns and 8 tokens stay in the second-level cache; a round takes about 0.1 ms.
    private const int Runs = 32, Rounds = 9, Repeats = 8;

    /// <summary>The kernel with the shortest of several rounds, which alternate.</summary>
    /// <param name="rivals">Kernels of one format.</param>
    public static PackedKernel Fastest(PackedKernel[] rivals)
    {
        if (rivals[0].Instructions == rivals[^1].Instructions) return rivals[0];
        using NativeBuffer panel = new(Runs * 32 * 16 * 4), tokens = new(Runs * 8 * TokenTiles.FloatRunBytes), results = new(PackedKernel.ResultCount * 4);
        long[] best = new long[rivals.Length];
        Array.Fill(best, long.MaxValue);
        for (int round = 0; round < Rounds; round++)
        {
            for (int i = 0; i < rivals.Length; i++)
            {
                long start = Stopwatch.GetTimestamp();
                for (int repeat = 0; repeat < Repeats; repeat++)
                    rivals[i].Add(panel.Pointer, tokens.Pointer, 8, Runs, (float*)results.Pointer);
                best[i] = Math.Min(best[i], Stopwatch.GetTimestamp() - start);
            }
        }

        return rivals[Array.IndexOf(best, best.Min())];
    }
}
