using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Nibble.Core.Compute;

namespace Nibble.Cpu.Kernels;

/// <summary><see cref="WalshHadamard"/> with vectors, to the same bits: every sum and difference is that of the same two values.</summary>
internal static unsafe class HeadRotation
{
    /// <summary>Rotates heads.</summary>
    /// <param name="values">[count], changed.</param>
    /// <param name="count">A whole number of heads.</param>
    /// <param name="size">Values in a head; a multiple of 4.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Rotate(float* values, int count, int size)
    {
        int block = WalshHadamard.Block(size);
        Vector128<float> scale = Vector128.Create(1 / MathF.Sqrt(block));

        // Neighbours, and pairs of them, inside a vector: the difference is the sum with the second one's sign turned.
        Vector128<float> second = Vector128.Create(0f, -0f, 0f, -0f), upper = Vector128.Create(0f, 0f, -0f, -0f);
        for (int i = 0; i < count; i += 4)
        {
            Vector128<float> x = Vector128.Load(values + i);
            x = Vector128.Shuffle(x, Vector128.Create(0, 0, 2, 2)) + (Vector128.Shuffle(x, Vector128.Create(1, 1, 3, 3)) ^ second);
            x = Vector128.Shuffle(x, Vector128.Create(0, 1, 0, 1)) + (Vector128.Shuffle(x, Vector128.Create(2, 3, 2, 3)) ^ upper);
            if (block == 4) x *= scale;
            x.Store(values + i);
        }

        for (int half = 4; half < block; half *= 2)
        {
            Vector128<float> factor = 2 * half == block ? scale : Vector128<float>.One;
            for (float* low = values; low < values + count; low += 2 * half)
            {
                for (int i = 0; i < half; i += 4)
                {
                    Vector128<float> a = Vector128.Load(low + i), b = Vector128.Load(low + half + i);
                    ((a + b) * factor).Store(low + i);
                    ((a - b) * factor).Store(low + half + i);
                }
            }
        }
    }
}
