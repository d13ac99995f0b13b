using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Nibble.Quantize.Methods;

/// <summary>What the codes of a grid stand for before a group's scale: whole numbers one after the other, or up to 16 numbers of a table. Code 0 is the lowest.</summary>
internal sealed class GridLevels
{
    private const int TableSize = 16;

    private readonly float[] _levels;
    private readonly float[] _between;

    private GridLevels(float[] levels, bool isEven)
    {
        _levels = levels;
        IsEven = isEven;

        // Where the nearest level changes; beyond the last nothing is.
        _between = new float[Math.Max(TableSize, levels.Length)];
        Array.Fill(_between, float.PositiveInfinity);
        for (int i = 0; i + 1 < levels.Length; i++)
            _between[i] = (levels[i] + levels[i + 1]) / 2;
    }

    /// <summary>Whether levels are whole numbers one after the other.</summary>
    public bool IsEven { get; }

    /// <summary>How many levels there are.</summary>
    public int Count => _levels.Length;

    /// <summary>The lowest level.</summary>
    public float Low => _levels[0];

    /// <summary>The highest level.</summary>
    public float High => _levels[^1];

    /// <summary>The largest magnitude of a level.</summary>
    public float Largest => MathF.Max(-Low, High);

    /// <summary>The level of a code.</summary>
    public float this[int code] => _levels[code];

    /// <summary>Every whole number from <paramref name="low"/> to <paramref name="high"/>.</summary>
    public static GridLevels Even(int low, int high) => new([.. Enumerable.Range(low, high - low + 1).Select(level => (float)level)], isEven: true);

    /// <summary>Up to 16 levels, ascending.</summary>
    public static GridLevels Table(ReadOnlySpan<float> levels) => new(levels.ToArray(), isEven: false);

    /// <summary>The code of the nearest level; halves to the even whole number, or to the lower level of a table.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Code(float value)
    {
        if (IsEven)
            return (int)(MathF.Min(MathF.Max(MathF.Round(value), Low), High) - Low);
        Vector256<float> values = Vector256.Create(value);
        return BitOperations.PopCount(Vector256.GreaterThan(values, Vector256.Create(_between)).ExtractMostSignificantBits())
            + BitOperations.PopCount(Vector256.GreaterThan(values, Vector256.Create(_between.AsSpan(8))).ExtractMostSignificantBits());
    }

    /// <summary>The nearest levels.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Vector<float> Nearest(Vector<float> values)
    {
        if (IsEven)
            return Vector.MinNative(Vector.MaxNative(Vector.Round(values), new Vector<float>(Low)), new Vector<float>(High));
        Vector<float> nearest = new(_levels[0]);
        for (int i = 0; i + 1 < _levels.Length; i++)
            nearest = Vector.ConditionalSelect(Vector.GreaterThan(values, new Vector<float>(_between[i])), new Vector<float>(_levels[i + 1]), nearest);
        return nearest;
    }

    /// <summary>The weighted squared error that values have when each is rounded to its nearest in a group.</summary>
    /// <param name="values">[n] float32.</param>
    /// <param name="weights">[n] what an error counts.</param>
    /// <param name="group">Scale, zero and minimum.</param>
    public float Error(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, AffineGroup group)
    {
        float inverse = group.Inverse;
        Vector<float> sums = default, scale = new(group.Scale), zero = new(group.Zero), min = new(group.Min);
        int i = 0;
        for (; i <= values.Length - Vector<float>.Count; i += Vector<float>.Count)
        {
            Vector<float> shifted = new Vector<float>(values[i..]) + min;
            Vector<float> error = shifted - (scale * (Nearest((shifted * inverse) + zero) - zero));
            sums += new Vector<float>(weights[i..]) * error * error;
        }

        float sum = Vector.Sum(sums);
        for (; i < values.Length; i++)
        {
            float error = values[i] - group.Value(_levels[Code(group.Place(values[i], inverse))]);
            sum += weights[i] * error * error;
        }

        return sum;
    }

    /// <summary>What a least-squares fit of scale and minimum needs, with c the nearest levels less the group's zero.</summary>
    /// <param name="values">[n] float32.</param>
    /// <param name="weights">[n] what an error counts.</param>
    /// <param name="group">Scale, zero and minimum by which the values are rounded.</param>
    public FitSums Sums(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, AffineGroup group)
    {
        float inverse = group.Inverse;
        Vector<float> cc = default, c1 = default, one = default, cx = default, x1 = default, zero = new(group.Zero), min = new(group.Min);
        int i = 0;
        for (; i <= values.Length - Vector<float>.Count; i += Vector<float>.Count)
        {
            Vector<float> x = new(values[i..]), w = new(weights[i..]), c = Nearest(((x + min) * inverse) + zero) - zero, wc = w * c;
            cc += wc * c;
            c1 += wc;
            one += w;
            cx += wc * x;
            x1 += w * x;
        }

        double sumCc = Vector.Sum(cc), sumC = Vector.Sum(c1), sum = Vector.Sum(one), sumCx = Vector.Sum(cx), sumX = Vector.Sum(x1);
        for (; i < values.Length; i++)
        {
            float c = _levels[Code(group.Place(values[i], inverse))] - group.Zero, w = weights[i];
            sumCc += w * c * c;
            sumC += w * c;
            sum += w;
            sumCx += w * c * values[i];
            sumX += w * values[i];
        }

        return new FitSums(sumCc, sumC, sum, sumCx, sumX);
    }
}

/// <summary>Weighted sums over values x with levels c.</summary>
/// <param name="Cc">S(w c²).</param>
/// <param name="C">S(w c).</param>
/// <param name="One">S(w).</param>
/// <param name="Cx">S(w c x).</param>
/// <param name="X">S(w x).</param>
internal readonly record struct FitSums(double Cc, double C, double One, double Cx, double X);

/// <summary>How the levels of one group become values: value = scale·(level − zero) − min, each step rounded to float32 as decoders do.</summary>
/// <param name="Scale">The scale; 0 where all levels are the same value.</param>
/// <param name="Zero">The level that stands for 0 before the minimum is taken away.</param>
/// <param name="Min">What is taken from every value.</param>
internal readonly record struct AffineGroup(float Scale, float Zero, float Min)
{
    // Below this a scale has no inverse to reckon with.
    private const float Tiny = 1e-30f;

    /// <summary>1 / scale, 0 where there is no scale to speak of.</summary>
    public float Inverse => MathF.Abs(Scale) < Tiny ? 0 : 1 / Scale;

    /// <summary>What a level stands for.</summary>
    public float Value(float level) => (Scale * (level - Zero)) - Min;

    /// <summary>Where a value lies among the levels.</summary>
    /// <param name="value">The value.</param>
    /// <param name="inverse"><see cref="Inverse"/>.</param>
    public float Place(float value, float inverse) => ((value + Min) * inverse) + Zero;
}
