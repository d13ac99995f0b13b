using System.Numerics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Nibble.Quantize.Gradients;

/// <summary>Operations along rows of float32. Sums go through 16 lanes on every processor, so that they are the same on all of them.</summary>
internal static class RowMath
{
    private const int Lanes = 16;

    /// <summary>The sum of the products.</summary>
    public static float Dot(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        ReadOnlySpan<Vector512<float>> left = MemoryMarshal.Cast<float, Vector512<float>>(a), right = MemoryMarshal.Cast<float, Vector512<float>>(b[..a.Length]);
        Vector512<float> sums = default;
        for (int i = 0; i < left.Length; i++)
            sums = Vector512.MultiplyAddEstimate(left[i], right[i], sums);
        float sum = Sum(sums);
        for (int i = left.Length * Lanes; i < a.Length; i++)
            sum += a[i] * b[i];
        return sum;
    }

    /// <summary>The sum of a b c.</summary>
    public static float Dot(ReadOnlySpan<float> a, ReadOnlySpan<float> b, ReadOnlySpan<float> c)
    {
        ReadOnlySpan<Vector512<float>> first = MemoryMarshal.Cast<float, Vector512<float>>(a), second = MemoryMarshal.Cast<float, Vector512<float>>(b[..a.Length]), third = MemoryMarshal.Cast<float, Vector512<float>>(c[..a.Length]);
        Vector512<float> sums = default;
        for (int i = 0; i < first.Length; i++)
            sums = Vector512.MultiplyAddEstimate(first[i] * second[i], third[i], sums);
        float sum = Sum(sums);
        for (int i = first.Length * Lanes; i < a.Length; i++)
            sum += a[i] * b[i] * c[i];
        return sum;
    }

    /// <summary>target += source.</summary>
    public static void Add(ReadOnlySpan<float> source, Span<float> target)
    {
        ReadOnlySpan<Vector<float>> sources = MemoryMarshal.Cast<float, Vector<float>>(source[..target.Length]);
        Span<Vector<float>> targets = MemoryMarshal.Cast<float, Vector<float>>(target);
        for (int i = 0; i < targets.Length; i++)
            targets[i] += sources[i];
        for (int i = targets.Length * Vector<float>.Count; i < target.Length; i++)
            target[i] += source[i];
    }

    /// <summary>target = factor x source. In place allowed.</summary>
    public static void Scale(ReadOnlySpan<float> source, float factor, Span<float> target)
    {
        ReadOnlySpan<Vector<float>> sources = MemoryMarshal.Cast<float, Vector<float>>(source[..target.Length]);
        Span<Vector<float>> targets = MemoryMarshal.Cast<float, Vector<float>>(target);
        for (int i = 0; i < targets.Length; i++)
            targets[i] = sources[i] * factor;
        for (int i = targets.Length * Vector<float>.Count; i < target.Length; i++)
            target[i] = source[i] * factor;
    }

    /// <summary>Adds the squares to sums in double precision, and returns their own sum.</summary>
    /// <param name="row">The values.</param>
    /// <param name="sums">As many sums.</param>
    public static void AddSquares(ReadOnlySpan<float> row, Span<double> sums)
    {
        for (int i = 0; i < row.Length; i++)
            sums[i] += (double)row[i] * row[i];
    }

    /// <summary>x = cap tanh(x / cap), in place, and the slope 1 - tanh² of each.</summary>
    /// <param name="row">x.</param>
    /// <param name="cap">The cap, above 0.</param>
    /// <param name="slopes">As many values, overwritten.</param>
    public static void SoftCap(Span<float> row, float cap, Span<float> slopes)
    {
        for (int i = 0; i < row.Length; i++)
        {
            float tanh = MathF.Tanh(row[i] / cap);
            row[i] = cap * tanh;
            slopes[i] = 1 - (tanh * tanh);
        }
    }

    /// <summary>Softmax in place.</summary>
    /// <param name="row">At least one value, finite.</param>
    /// <returns>The sum of the exponentials and the highest value, from which -log p of a value x follows: highest + log(sum) - x.</returns>
    public static (float Highest, float Sum) Softmax(Span<float> row)
    {
        Span<Vector512<float>> vectors = MemoryMarshal.Cast<float, Vector512<float>>(row);
        int whole = vectors.Length * Lanes;
        float highest = float.NegativeInfinity;
        if (vectors.Length > 0)
        {
            Vector512<float> highs = vectors[0];
            foreach (Vector512<float> vector in vectors)
                highs = Vector512.Max(highs, vector);
            for (int lane = 0; lane < Lanes; lane++)
                highest = MathF.Max(highest, highs[lane]);
        }

        for (int i = whole; i < row.Length; i++)
            highest = MathF.Max(highest, row[i]);
        Vector512<float> sums = default, shift = Vector512.Create(highest);
        for (int i = 0; i < vectors.Length; i++)
        {
            vectors[i] = Vector512.Exp(vectors[i] - shift);
            sums += vectors[i];
        }

        float sum = Sum(sums);
        for (int i = whole; i < row.Length; i++)
        {
            row[i] = MathF.Exp(row[i] - highest);
            sum += row[i];
        }

        Scale(row, 1 / sum, row);
        return (highest, sum);
    }

    private static float Sum(Vector512<float> sums)
    {
        Vector256<float> eight = sums.GetLower() + sums.GetUpper();
        Vector128<float> four = eight.GetLower() + eight.GetUpper();
        return four[0] + four[2] + (four[1] + four[3]);
    }
}
