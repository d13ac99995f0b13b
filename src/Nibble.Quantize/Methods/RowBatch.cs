using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Nibble.Quantize.Methods;

/// <summary>Sums of a matrix's rows for several rows of factors at a time, so that the matrix is read once for all of them. Each target's sum has the order of the matrix's rows, however many there are.</summary>
internal static class RowBatch
{
    // Targets that are summed together, and columns whose part of the matrix stays in the cache for all of them.
    private const int Quad = 4, Tile = 512;

    /// <summary>targets[r, j] += S over i of factors[r, i] · matrix[i, j].</summary>
    /// <param name="factors">[rows x factorStride], of which the first <paramref name="count"/> of each row are used.</param>
    /// <param name="factorStride">From a row of factors to the next.</param>
    /// <param name="count">Rows of the matrix.</param>
    /// <param name="matrix">From the first value on.</param>
    /// <param name="matrixStride">From a row of the matrix to the next.</param>
    /// <param name="targets">From the first value on.</param>
    /// <param name="targetStride">From a row of targets to the next.</param>
    /// <param name="rows">Rows of targets.</param>
    /// <param name="width">Columns of the matrix and the targets.</param>
    public static void Add(ReadOnlySpan<float> factors, int factorStride, int count, ReadOnlySpan<float> matrix, int matrixStride, Span<float> targets, int targetStride, int rows, int width)
    {
        if (rows == 0 || count == 0 || width <= 0) return;
        _ = factors[((rows - 1) * factorStride) + count - 1];
        _ = matrix[((count - 1) * matrixStride) + width - 1];
        _ = targets[((rows - 1) * targetStride) + width - 1];
        Span<int> used = count <= 1024 ? stackalloc int[count] : new int[count];
        Span<float> packed = count <= 1024 ? stackalloc float[Quad * count] : new float[Quad * count];
        for (int first = 0; first < rows; first += Quad)
        {
            // Rows of the matrix that count for none of the four are left out.
            int some = Math.Min(Quad, rows - first), filled = 0;
            for (int i = 0; i < count; i++)
            {
                bool isUsed = false;
                for (int r = 0; r < Quad; r++)
                {
                    float factor = r < some ? factors[((first + r) * factorStride) + i] : 0;
                    packed[(Quad * filled) + r] = factor;
                    isUsed |= factor != 0;
                }

                if (isUsed) used[filled++] = i * matrixStride;
            }

            if (filled == 0) continue;
            for (int start = 0; start < width; start += Tile)
                AddQuad(packed, used[..filled], matrix[start..], targets[((first * targetStride) + start)..], targetStride, some, Math.Min(Tile, width - start));
        }
    }

    private static void AddQuad(ReadOnlySpan<float> packed, ReadOnlySpan<int> used, ReadOnlySpan<float> matrix, Span<float> targets, int stride, int rows, int width)
    {
        ref float source = ref MemoryMarshal.GetReference(matrix), target = ref MemoryMarshal.GetReference(targets), factor = ref MemoryMarshal.GetReference(packed);
        int lanes = Vector<float>.Count, j = 0;
        if (rows == Quad)
        {
            for (; j <= width - (2 * lanes); j += 2 * lanes)
            {
                ref float t0 = ref Unsafe.Add(ref target, j), t1 = ref Unsafe.Add(ref t0, stride), t2 = ref Unsafe.Add(ref t1, stride), t3 = ref Unsafe.Add(ref t2, stride);
                Vector<float> a0 = Load(ref t0), b0 = Load(ref Unsafe.Add(ref t0, lanes)), a1 = Load(ref t1), b1 = Load(ref Unsafe.Add(ref t1, lanes));
                Vector<float> a2 = Load(ref t2), b2 = Load(ref Unsafe.Add(ref t2, lanes)), a3 = Load(ref t3), b3 = Load(ref Unsafe.Add(ref t3, lanes));
                for (int i = 0; i < used.Length; i++)
                {
                    ref float row = ref Unsafe.Add(ref source, used[i] + j), own = ref Unsafe.Add(ref factor, Quad * i);
                    Vector<float> x = Load(ref row), y = Load(ref Unsafe.Add(ref row, lanes)), f = new(own);
                    a0 = Vector.MultiplyAddEstimate(f, x, a0);
                    b0 = Vector.MultiplyAddEstimate(f, y, b0);
                    f = new(Unsafe.Add(ref own, 1));
                    a1 = Vector.MultiplyAddEstimate(f, x, a1);
                    b1 = Vector.MultiplyAddEstimate(f, y, b1);
                    f = new(Unsafe.Add(ref own, 2));
                    a2 = Vector.MultiplyAddEstimate(f, x, a2);
                    b2 = Vector.MultiplyAddEstimate(f, y, b2);
                    f = new(Unsafe.Add(ref own, 3));
                    a3 = Vector.MultiplyAddEstimate(f, x, a3);
                    b3 = Vector.MultiplyAddEstimate(f, y, b3);
                }

                Store(a0, ref t0);
                Store(b0, ref Unsafe.Add(ref t0, lanes));
                Store(a1, ref t1);
                Store(b1, ref Unsafe.Add(ref t1, lanes));
                Store(a2, ref t2);
                Store(b2, ref Unsafe.Add(ref t2, lanes));
                Store(a3, ref t3);
                Store(b3, ref Unsafe.Add(ref t3, lanes));
            }
        }

        for (int r = 0; r < rows; r++)
        {
            int k = j;
            for (; k <= width - lanes; k += lanes)
            {
                ref float place = ref Unsafe.Add(ref target, (r * stride) + k);
                Vector<float> sum = Load(ref place);
                for (int i = 0; i < used.Length; i++)
                    sum = Vector.MultiplyAddEstimate(new Vector<float>(Unsafe.Add(ref factor, (Quad * i) + r)), Load(ref Unsafe.Add(ref source, used[i] + k)), sum);
                Store(sum, ref place);
            }

            for (; k < width; k++)
            {
                float sum = targets[(r * stride) + k];
                for (int i = 0; i < used.Length; i++)
                    sum = float.MultiplyAddEstimate(packed[(Quad * i) + r], matrix[used[i] + k], sum);
                targets[(r * stride) + k] = sum;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector<float> Load(ref float source) => Vector.LoadUnsafe(ref source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(Vector<float> value, ref float target) => Vector.StoreUnsafe(value, ref target);
}
