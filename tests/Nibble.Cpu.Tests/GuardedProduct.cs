using Nibble.Cpu.Jobs;
using Nibble.Cpu.Packed;

namespace Nibble.Cpu.Tests;

/// <summary>A product of packed rows whose activations, numbers and results lie beside protected pages.</summary>
internal static unsafe class GuardedProduct
{
    /// <summary>Multiplies.</summary>
    /// <param name="kernel">What packed the tiles.</param>
    /// <param name="tiles">[rows / 16, rounded up, x blocks] tiles.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="columns">Columns.</param>
    /// <param name="tokens">Tokens; may be 0.</param>
    /// <param name="side">Where the protected page is.</param>
    /// <param name="orders">What has the weight's order of columns and those apart, or null.</param>
    /// <returns>[tokens x rows].</returns>
    public static float[] Of(PackedKernel kernel, byte* tiles, int rows, int columns, int tokens, GuardSide side, PackedMatrix? orders = null)
    {
        using GuardedMemory<float> x = new(Values.Random(new Random(1), tokens * columns), side), y = new(tokens * rows, side);
        using GuardedMemory<int> numbers = new([.. Enumerable.Range(0, tokens)], side);
        using Scratch forms = new(), own = new();
        PackedMatMulJob job = new(CpuPaths.Choose(null).NewKernels(), [own], 1);
        job.Begin(new ProductInput(new Rows(x.Pointer, columns, tokens, columns)));
        job.AddTarget(new PackedTarget
        {
            Kernel = kernel,
            Tiles = tiles,
            Blocks = columns / kernel.TileColumns,
            Rows = rows,
            Scale = 1,
            Y = y.Pointer,
            YStride = rows,
            Inputs = numbers.Pointer,
            Outputs = numbers.Pointer,
            Count = tokens,
            Columns = orders?.Columns is { } order ? (int*)order.Pointer : null,
            Outliers = orders?.Outliers,
        });
        job.Prepare(forms);
        job.Tokens.Run(0, 1, 0);
        job.Run(0, 1, 0);
        return y.Span.ToArray();
    }
}
