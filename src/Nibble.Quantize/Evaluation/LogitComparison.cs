using System.Numerics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Nibble.Quantize.Evaluation;

/// <summary>Two models' predictions of one token, compared over the whole vocabulary, in float64.</summary>
/// <param name="Kl">sum over ids of p (ln p - ln q), where p is the baseline's probability and q the model's; nats.</param>
/// <param name="BaselineNll">-ln p of the id that came.</param>
/// <param name="Nll">-ln q of the id that came.</param>
/// <param name="IsSameTop">Whether both give the highest probability to the same id; of equals the lower one counts.</param>
internal readonly record struct LogitComparison(double Kl, double BaselineNll, double Nll, bool IsSameTop)
{
    /// <summary>Compares.</summary>
    /// <param name="baseline">[vocabulary] logits.</param>
    /// <param name="model">[vocabulary] logits.</param>
    /// <param name="target">The id that came.</param>
    public static LogitComparison Of(ReadOnlySpan<float> baseline, ReadOnlySpan<float> model, int target)
    {
        int baselineTop = IndexOfMax(baseline), modelTop = IndexOfMax(model);
        double baselineHighest = baseline[baselineTop], modelHighest = model[modelTop];
        // With b and m less their highest: sum e^b, sum e^b (b - m), sum e^m. The chunks of four keep one order of sums on every processor.
        Vector256<double> sums = Vector256<double>.Zero, weighted = Vector256<double>.Zero, modelSums = Vector256<double>.Zero;
        Vector256<double> highest = Vector256.Create(baselineHighest), highestOfModel = Vector256.Create(modelHighest);
        int whole = baseline.Length & ~(Vector128<float>.Count - 1);
        ReadOnlySpan<Vector128<float>> baselineVectors = MemoryMarshal.Cast<float, Vector128<float>>(baseline[..whole]), modelVectors = MemoryMarshal.Cast<float, Vector128<float>>(model[..whole]);
        for (int i = 0; i < baselineVectors.Length; i++)
        {
            Vector256<double> b = Widen(baselineVectors[i]) - highest, m = Widen(modelVectors[i]) - highestOfModel;
            Vector256<double> p = Vector256.Exp(b);
            sums += p;
            weighted += p * (b - m);
            modelSums += Vector256.Exp(m);
        }

        double sum = Vector256.Sum(sums), weightedSum = Vector256.Sum(weighted), modelSum = Vector256.Sum(modelSums);
        for (int i = whole; i < baseline.Length; i++)
        {
            double b = baseline[i] - baselineHighest, m = model[i] - modelHighest, p = Math.Exp(b);
            sum += p;
            weightedSum += p * (b - m);
            modelSum += Math.Exp(m);
        }

        double baselineLog = Math.Log(sum), modelLog = Math.Log(modelSum);
        return new LogitComparison(
            Math.Max(0, (weightedSum / sum) - baselineLog + modelLog),
            baselineLog - (baseline[target] - baselineHighest),
            modelLog - (model[target] - modelHighest),
            baselineTop == modelTop);
    }

    private static Vector256<double> Widen(Vector128<float> values)
    {
        (Vector128<double> lower, Vector128<double> upper) = Vector128.Widen(values);
        return Vector256.Create(lower, upper);
    }

    private static int IndexOfMax(ReadOnlySpan<float> values)
    {
        float highest = float.NegativeInfinity;
        int width = Vector<float>.Count, i = 0;
        Vector<float> highs = new(float.NegativeInfinity);
        for (; i <= values.Length - width; i += width)
            highs = Vector.Max(highs, new Vector<float>(values[i..]));
        for (int lane = 0; lane < width; lane++)
            highest = MathF.Max(highest, highs[lane]);
        for (; i < values.Length; i++)
            highest = MathF.Max(highest, values[i]);
        return Math.Max(0, values.IndexOf(highest));
    }
}
