namespace Nibble.Testing;

/// <summary>What work allocates.</summary>
public static class Allocations
{
    /// <summary>The least number of bytes of managed memory that some runs of <paramref name="work"/> allocate.</summary>
    /// <param name="work">What is measured; run before, so that it is compiled and has grown its buffers.</param>
    /// <param name="everyThread">Whether what all threads of the process allocate counts, or the calling one's only.</param>
    /// <remarks>Of some runs, since the runtime itself allocates now and then on whatever thread needs its tables and the test host on its own;
    /// what the work allocates shows in every run. The runs end with the first that allocates nothing.</remarks>
    public static long Least(Action work, bool everyThread = false)
    {
        long least = long.MaxValue;
        for (int run = 0; run < 20 && least > 0; run++)
        {
            long before = Total();
            work();
            least = Math.Min(least, Total() - before);
        }

        return least;

        long Total() => everyThread ? GC.GetTotalAllocatedBytes(precise: true) : GC.GetAllocatedBytesForCurrentThread();
    }
}
