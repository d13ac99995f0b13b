namespace Nibble.Core.Formats;

/// <summary>What formats with minima differ in when the best blocks are looked for.</summary>
/// <param name="GroupValues">Values with one scale and one minimum.</param>
/// <param name="Groups">Groups in a block.</param>
/// <param name="MaxCode">The largest code of a value.</param>
/// <param name="MaxScale">The largest code of a scale or a minimum; 1 where there are no such codes and the minimum may have either sign.</param>
internal sealed record BestMinShape(int GroupValues, int Groups, int MaxCode, int MaxScale)
{
    /// <summary>Whether scales and minima have codes of their own.</summary>
    public bool HasScaleCodes => MaxScale > 1;
}

/// <summary>
/// Looks for the block of least weighted squared error where value = d * scale * code - dmin * min. A group starts from many ranges; each is rounded and refitted by least squares in turn (Lloyd's method)
/// while that helps. Then d, dmin and the codes of scales and minima are fitted to one another, each time with the values rounded anew.
/// </summary>
internal static class BestMinSearch
{
    private const int Starts = 3;

    /// <summary>Encodes a block.</summary>
    /// <param name="values">[groups x group values] float32.</param>
    /// <param name="weights">The same number of float32: what an error counts.</param>
    /// <param name="shape">The format.</param>
    /// <param name="codes">The same number of codes, overwritten.</param>
    /// <param name="scales">[groups] codes of the scales, overwritten.</param>
    /// <param name="mins">[groups] codes of the minima, overwritten.</param>
    /// <returns>d and dmin.</returns>
    public static (Half D, Half Dmin) Encode(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, BestMinShape shape, Span<byte> codes, Span<byte> scales, Span<byte> mins)
    {
        int size = shape.GroupValues;
        Span<float> idealScales = stackalloc float[shape.Groups], idealMins = stackalloc float[shape.Groups], scaleCosts = stackalloc float[shape.Groups], minCosts = stackalloc float[shape.Groups];
        for (int group = 0; group < shape.Groups; group++)
        {
            ReadOnlySpan<float> x = values.Slice(group * size, size), w = weights.Slice(group * size, size);
            (idealScales[group], idealMins[group], scaleCosts[group]) = Group(x, w, shape);
            minCosts[group] = Rounding.Sum(w);
        }

        Span<byte> trialCodes = stackalloc byte[values.Length], trialScales = stackalloc byte[shape.Groups], trialMins = stackalloc byte[shape.Groups];
        Span<float> ds = stackalloc float[Starts], dmins = stackalloc float[Starts];
        Candidates(idealScales, scaleCosts, shape, ds);
        Candidates(idealMins, minCosts, shape, dmins);
        (Half, Half) best = (Half.Zero, Half.Zero);
        double least = double.PositiveInfinity;
        for (int start = 0; start < Starts * Starts; start++)
        {
            float d = ds[start / Starts], dmin = dmins[start % Starts];
            double before = double.PositiveInfinity;
            for (int round = 0; round < 5; round++)
            {
                (Half D, Half Dmin) rounded = (HalfConversion.ToHalf(d), HalfConversion.ToHalf(dmin));
                if (!Half.IsFinite(rounded.D) || !Half.IsFinite(rounded.Dmin)) break;
                (double error, d, dmin) = Fit(values, weights, idealScales, idealMins, (float)rounded.D, (float)rounded.Dmin, shape, trialCodes, trialScales, trialMins);
                if (error < least)
                {
                    (least, best) = (error, rounded);
                    trialCodes.CopyTo(codes);
                    trialScales.CopyTo(scales);
                    trialMins.CopyTo(mins);
                }

                if (error >= before) break;
                before = error;
            }
        }

        return best;
    }

    // Scale and minimum of a group, and S(w q^2) at its codes.
    private static (float Scale, float Min, float ScaleCost) Group(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, BestMinShape shape)
    {
        float low = values[0], high = values[0];
        foreach (float value in values)
        {
            low = MathF.Min(low, value);
            high = MathF.Max(high, value);
        }

        if (shape.HasScaleCodes) (low, high) = (MathF.Min(low, 0), MathF.Max(high, 0));
        if (high == low) return (0, -low, Rounding.Sum(weights));
        (float Scale, float Min, float Cost) best = default;
        double least = double.PositiveInfinity;

        // Fewer levels gain more from a narrow range: what lies outside is few values.
        const int Cuts = 5;
        float widest = shape.MaxCode == 3 ? 0.3f : shape.MaxCode == 15 ? 0.12f : 0.06f;
        Span<byte> codes = stackalloc byte[values.Length];
        for (int cut = 0; cut < Cuts * Cuts; cut++)
        {
            float from = low + (high - low) * widest * (cut / Cuts) / (Cuts - 1), to = high - (high - low) * widest * (cut % Cuts) / (Cuts - 1);
            float scale = (to - from) / shape.MaxCode, min = -from;
            double before = double.PositiveInfinity;
            for (int round = 0; round < 4; round++)
            {
                (double error, Sums sums) = Round(values, weights, scale, min, shape.MaxCode, codes);
                if (error < least) (least, best) = (error, (scale, min, (float)sums.SquareQ));
                if (error >= before) break;
                before = error;
                (scale, min) = sums.Refit(isMinPositive: shape.HasScaleCodes);
                if (!(scale > 0)) break;
            }
        }

        return best;
    }

    // The unit by which the groups' numbers are rounded to codes with the least error.
    private static void Candidates(ReadOnlySpan<float> ideal, ReadOnlySpan<float> costs, BestMinShape shape, Span<float> units)
    {
        float extreme = Rounding.Extreme(ideal);
        units.Fill(extreme / shape.MaxScale);
        if (!shape.HasScaleCodes)
        {
            float nearest = (float)HalfConversion.ToHalf(extreme);
            (units[0], units[1], units[2]) = (nearest, nearest * (1 + 1f / 1024), nearest * (1 - 1f / 1024));
            return;
        }

        Span<double> least = stackalloc double[units.Length];
        least.Fill(double.PositiveInfinity);
        for (int step = 0; step < 64 && extreme > 0; step++)
        {
            float unit = extreme / (shape.MaxScale * (1.02f - step * 0.006f));
            double cost = 0;
            for (int group = 0; group < ideal.Length; group++)
            {
                double miss = ideal[group] - unit * Rounding.Nearest(ideal[group] / unit, 0, shape.MaxScale);
                cost += costs[group] * miss * miss;
            }

            int place = units.Length - 1;
            if (!(cost < least[place])) continue;
            for (; place > 0 && cost < least[place - 1]; place--) (least[place], units[place]) = (least[place - 1], units[place - 1]);
            (least[place], units[place]) = (cost, unit);
        }
    }

    // Rounds everything by given units, each group with the codes of scale and minimum that serve it best; gives the error, and the units that refit the codes.
    private static (double Error, float D, float Dmin) Fit(
        ReadOnlySpan<float> values, ReadOnlySpan<float> weights, ReadOnlySpan<float> idealScales, ReadOnlySpan<float> idealMins, float d, float dmin, BestMinShape shape, Span<byte> codes, Span<byte> scales, Span<byte> mins)
    {
        int size = shape.GroupValues;
        Span<byte> trial = stackalloc byte[size];
        double total = 0, scaleSquare = 0, minSquare = 0, both = 0, scaleCross = 0, minCross = 0;
        for (int group = 0; group < shape.Groups; group++)
        {
            ReadOnlySpan<float> x = values.Slice(group * size, size), w = weights.Slice(group * size, size);
            (int scaleFrom, int scaleTo) = Around(idealScales[group], d, shape);
            (int minFrom, int minTo) = Around(idealMins[group], dmin, shape);
            double least = double.PositiveInfinity;
            Sums kept = default;
            int keptScale = 0, keptMin = 0;
            for (int scale = scaleFrom; scale <= scaleTo; scale++)
            {
                for (int min = minFrom; min <= minTo; min++)
                {
                    (double error, Sums sums) = Round(x, w, d * scale, dmin * min, shape.MaxCode, trial);
                    if (!(error < least)) continue;
                    (least, kept, keptScale, keptMin) = (error, sums, scale, min);
                    trial.CopyTo(codes.Slice(group * size, size));
                }
            }

            scales[group] = (byte)keptScale;
            mins[group] = (byte)keptMin;
            total += least;
            scaleSquare += kept.SquareQ * keptScale * keptScale;
            minSquare += kept.Weight * keptMin * keptMin;
            both += kept.Q * keptScale * keptMin;
            scaleCross += kept.CrossQ * keptScale;
            minCross += kept.X * keptMin;
        }

        // x = d (s q) - dmin m in least squares.
        double determinant = scaleSquare * minSquare - both * both;
        if (determinant > 1e-12 * scaleSquare * minSquare)
            return (total, (float)((scaleCross * minSquare - minCross * both) / determinant), (float)((scaleCross * both - minCross * scaleSquare) / determinant));
        return (total, scaleSquare > 0 ? (float)(scaleCross / scaleSquare) : d, dmin);
    }

    private static (int From, int To) Around(float ideal, float unit, BestMinShape shape)
    {
        if (!shape.HasScaleCodes) return (1, 1);
        int middle = unit == 0 ? 0 : Rounding.Nearest(ideal / unit, 0, shape.MaxScale);
        return (Math.Max(0, middle - 1), Math.Min(shape.MaxScale, middle + 1));
    }

    private static (double Error, Sums Sums) Round(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, float scale, float min, int maxCode, Span<byte> codes)
    {
        float inverse = scale == 0 ? 0 : 1 / scale;
        double error = 0;
        Sums sums = default;
        for (int i = 0; i < values.Length; i++)
        {
            double w = weights[i], x = values[i];
            int code = Rounding.Nearest((values[i] + min) * inverse, 0, maxCode);
            codes[i] = (byte)code;
            double miss = x - (scale * code - min), weighted = w * code;
            error += w * miss * miss;
            sums.Weight += w;
            sums.X += w * x;
            sums.Q += weighted;
            sums.SquareQ += weighted * code;
            sums.CrossQ += weighted * x;
        }

        return (error, sums);
    }

    private struct Sums
    {
        public double Weight, X, Q, SquareQ, CrossQ;

        public readonly (float Scale, float Min) Refit(bool isMinPositive)
        {
            double determinant = Weight * SquareQ - Q * Q;
            if (!(determinant > 0)) return (0, 0);
            double scale = (Weight * CrossQ - X * Q) / determinant, low = (SquareQ * X - Q * CrossQ) / determinant;
            return low > 0 && isMinPositive ? ((float)(CrossQ / SquareQ), 0) : ((float)scale, (float)-low);
        }
    }
}
