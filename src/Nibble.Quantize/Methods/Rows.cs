using System.Numerics;
using System.Runtime.InteropServices;

namespace Nibble.Quantize.Methods;

/// <summary>Dot products and updates of rows, in vectors.</summary>
internal static class Rows
{
    /// <summary>target += factor · source.</summary>
    /// <param name="source">As long as the target.</param>
    /// <param name="factor">The factor.</param>
    /// <param name="target">Is added to.</param>
    public static void Add<T>(ReadOnlySpan<T> source, T factor, Span<T> target)
        where T : struct, IFloatingPointIeee754<T>
    {
        ReadOnlySpan<Vector<T>> sources = MemoryMarshal.Cast<T, Vector<T>>(source[..target.Length]);
        Span<Vector<T>> targets = MemoryMarshal.Cast<T, Vector<T>>(target);
        Vector<T> factors = new(factor);
        for (int i = 0; i < targets.Length; i++)
            targets[i] += factors * sources[i];
        for (int i = targets.Length * Vector<T>.Count; i < target.Length; i++)
            target[i] += factor * source[i];
    }

    /// <summary>The sum of the products, in double precision.</summary>
    /// <param name="a">One row.</param>
    /// <param name="b">Another of the same length.</param>
    public static double Dot(ReadOnlySpan<double> a, ReadOnlySpan<double> b)
    {
        ReadOnlySpan<Vector<double>> left = MemoryMarshal.Cast<double, Vector<double>>(a), right = MemoryMarshal.Cast<double, Vector<double>>(b[..a.Length]);
        Vector<double> sums = default;
        for (int i = 0; i < left.Length; i++)
            sums += left[i] * right[i];
        double sum = Vector.Sum(sums);
        for (int i = left.Length * Vector<double>.Count; i < a.Length; i++)
            sum += a[i] * b[i];
        return sum;
    }

    /// <summary>The sum of the products, in float32.</summary>
    /// <param name="a">One row.</param>
    /// <param name="b">Another of the same length.</param>
    public static float Dot(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        ReadOnlySpan<Vector<float>> left = MemoryMarshal.Cast<float, Vector<float>>(a), right = MemoryMarshal.Cast<float, Vector<float>>(b[..a.Length]);
        Vector<float> sums = default;
        for (int i = 0; i < left.Length; i++)
            sums += left[i] * right[i];
        float sum = Vector.Sum(sums);
        for (int i = left.Length * Vector<float>.Count; i < a.Length; i++)
            sum += a[i] * b[i];
        return sum;
    }
}
