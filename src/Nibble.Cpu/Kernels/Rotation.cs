using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Nibble.Cpu.Kernels;

/// <summary>Rotations of the pairs of one head. Products are rounded before they are added, as in the reference.</summary>
internal static unsafe class Rotation
{
    /// <summary>Turns values i and i + pairs.</summary>
    /// <param name="x">[2 x pairs], changed.</param>
    /// <param name="cosine">[pairs].</param>
    /// <param name="sine">[pairs].</param>
    /// <param name="pairs">Pairs.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Halves(float* x, float* cosine, float* sine, int pairs)
    {
        int i = 0;
        for (; i <= pairs - 8; i += 8)
        {
            Vector256<float> a = Vector256.Load(x + i), b = Vector256.Load(x + pairs + i);
            Vector256<float> c = Vector256.Load(cosine + i), s = Vector256.Load(sine + i);
            ((a * c) - (b * s)).Store(x + i);
            ((a * s) + (b * c)).Store(x + pairs + i);
        }

        for (; i < pairs; i++)
        {
            float a = x[i], b = x[pairs + i];
            x[i] = (a * cosine[i]) - (b * sine[i]);
            x[pairs + i] = (a * sine[i]) + (b * cosine[i]);
        }
    }

    /// <summary>Turns values 2i and 2i + 1.</summary>
    /// <param name="x">[2 x pairs], changed.</param>
    /// <param name="cosine">[pairs].</param>
    /// <param name="sine">[pairs].</param>
    /// <param name="pairs">Pairs.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Adjacent(float* x, float* cosine, float* sine, int pairs)
    {
        int i = 0;
        Vector128<float> sign = Vector128.Create(-0f, 0f, -0f, 0f);
        for (; i <= pairs - 2; i += 2)
        {
            Vector128<float> ab = Vector128.Load(x + (2 * i)); // a0 b0 a1 b1
            Vector128<float> c = Vector128.Create(cosine[i], cosine[i], cosine[i + 1], cosine[i + 1]);
            Vector128<float> s = Vector128.Create(sine[i], sine[i], sine[i + 1], sine[i + 1]) ^ sign;
            Vector128<float> ba = Vector128.Shuffle(ab, Vector128.Create(1, 0, 3, 2));
            ((ab * c) + (ba * s)).Store(x + (2 * i));
        }

        for (; i < pairs; i++)
        {
            float a = x[2 * i], b = x[(2 * i) + 1];
            x[2 * i] = (a * cosine[i]) - (b * sine[i]);
            x[(2 * i) + 1] = (a * sine[i]) + (b * cosine[i]);
        }
    }
}
