namespace Nibble.Core.Formats;

/// <summary>What formats without minima differ in when the best blocks are looked for.</summary>
/// <param name="Levels">What a code stands for.</param>
/// <param name="GroupValues">Values with one scale.</param>
/// <param name="Groups">Groups in a block.</param>
/// <param name="LowScale">The lowest code of a scale; 1 where there is no such code.</param>
/// <param name="HighScale">The highest.</param>
internal sealed record BestScaleShape(LevelSet Levels, int GroupValues, int Groups, int LowScale, int HighScale);

/// <summary>
/// Looks for the block of least weighted squared error where value = d * scale * level. A group's best scale is found among all that there are: as it shrinks, single values pass from one level to the next, and
/// the error of the best refit, S(w x q)^2 / S(w q^2) below S(w x^2), changes only there. Then d and the scales' codes are fitted to one another, each time with the values rounded anew.
/// Idea: ik_llama.cpp #295, llama.cpp #12557 (the exhaustive search of a scale); the order of events is ours.
/// </summary>
internal static class BestScaleSearch
{
    // Scales are tried whose inverse is this much of the one that gives the largest magnitude the largest level.
    private const float NarrowFrom = 0.85f, NarrowTo = 1.1f, WideFrom = 0.5f, WideTo = 1.9f;

    /// <summary>Encodes a block.</summary>
    /// <param name="values">[groups x group values] float32.</param>
    /// <param name="weights">The same number of float32: what an error counts.</param>
    /// <param name="shape">The format.</param>
    /// <param name="codes">The same number of codes, overwritten.</param>
    /// <param name="scales">[groups] codes of the scales less the lowest one, overwritten.</param>
    /// <returns>d.</returns>
    public static Half Encode(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, BestScaleShape shape, Span<byte> codes, Span<byte> scales)
    {
        int size = shape.GroupValues;
        Span<float> ideal = stackalloc float[shape.Groups], curvature = stackalloc float[shape.Groups];
        for (int group = 0; group < shape.Groups; group++)
            (ideal[group], curvature[group]) = GroupScale(values.Slice(group * size, size), weights.Slice(group * size, size), shape.Levels);
        float extreme = Rounding.Extreme(ideal);
        codes.Fill((byte)shape.Levels.Nearest(0));
        scales.Fill((byte)Math.Clamp(-shape.LowScale, 0, shape.HighScale - shape.LowScale));
        if (extreme == 0) return Half.Zero;

        Span<byte> trialCodes = stackalloc byte[values.Length], trialScales = stackalloc byte[shape.Groups];
        Half best = Half.Zero;
        double least = double.PositiveInfinity;
        Span<float> starts = stackalloc float[3];
        Starts(ideal, curvature, extreme, shape, starts);
        foreach (float start in starts)
        {
            float d = start;
            double before = double.PositiveInfinity;
            for (int round = 0; round < 6; round++)
            {
                Half rounded = HalfConversion.ToHalf(d);
                if (rounded == Half.Zero || !Half.IsFinite(rounded)) break;
                (double error, d) = Fit(values, weights, ideal, (float)rounded, shape, trialCodes, trialScales);
                if (error < least)
                {
                    (least, best) = (error, rounded);
                    trialCodes.CopyTo(codes);
                    trialScales.CopyTo(scales);
                }

                if (error >= before) break;
                before = error;
            }
        }

        return best;
    }

    /// <summary>The scale of a group that leaves the least error, with S(w q^2) at its codes; zeros give 0.</summary>
    public static (float Scale, float Curvature) GroupScale(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, LevelSet levels)
    {
        float extreme = MathF.Abs(Rounding.Extreme(values));
        if (extreme < Rounding.Tiny) return (0, Rounding.Sum(weights));
        bool isNarrow = levels.Levels.Length > 64;
        float from = (isNarrow ? NarrowFrom : WideFrom) * levels.Largest / extreme, to = (isNarrow ? NarrowTo : WideTo) * levels.Largest / extreme;
        float[] times = new float[values.Length * levels.Levels.Length];
        int[] events = new int[times.Length];
        int[] codes = new int[values.Length];
        double best = 0;
        (float Scale, float Curvature) found = (0, 0);
        for (int sign = -1; sign <= 1; sign += 2)
        {
            double cross = 0, square = 0;
            int count = 0;
            for (int i = 0; i < values.Length; i++)
            {
                float x = sign * values[i], magnitude = MathF.Abs(x);
                codes[i] = levels.Nearest(x * from);
                double level = levels.Levels[codes[i]];
                cross += weights[i] * (double)x * level;
                square += weights[i] * level * level;

                // A value passes outwards, from the level nearest to it at first on.
                int step = x < 0 ? -1 : 1;
                for (int code = codes[i]; step < 0 ? code > 0 : code < levels.Between.Length; code += step)
                {
                    float time = MathF.Abs(levels.Between[step < 0 ? code - 1 : code]) / magnitude;
                    if (!(time <= to)) break;
                    (times[count], events[count++]) = (time, i);
                }
            }

            Array.Sort(times, events, 0, count);
            Keep(cross, square);
            for (int e = 0; e < count; e++)
            {
                int i = events[e];
                double x = sign * (double)values[i], before = levels.Levels[codes[i]];
                codes[i] += x < 0 ? -1 : 1;
                double after = levels.Levels[codes[i]];
                cross += weights[i] * x * (after - before);
                square += weights[i] * (after * after - before * before);
                Keep(cross, square);
            }

            void Keep(double cross, double square)
            {
                if (!(cross > 0 && square > 0) || !(cross * cross > best * square)) return;
                best = cross * cross / square;
                found = ((float)(sign * cross / square), (float)square);
            }
        }

        return found;
    }

    // The d that fit the groups' scales best once those are rounded to codes; where there are no codes, the scale itself and its neighbours.
    private static void Starts(ReadOnlySpan<float> ideal, ReadOnlySpan<float> curvature, float extreme, BestScaleShape shape, Span<float> starts)
    {
        if (shape.LowScale == shape.HighScale)
        {
            float nearest = (float)HalfConversion.ToHalf(extreme);
            (starts[0], starts[1], starts[2]) = (nearest, nearest * (1 + 1f / 1024), nearest * (1 - 1f / 1024));
            return;
        }

        Span<double> least = stackalloc double[starts.Length];
        least.Fill(double.PositiveInfinity);
        for (int side = 0; side < 2; side++)
        {
            float end = side == 0 ? shape.LowScale : shape.HighScale;
            for (int step = 0; step < 64; step++)
            {
                float d = extreme / (end * (1.02f - step * 0.006f));
                double cost = 0;
                for (int group = 0; group < ideal.Length; group++)
                {
                    double miss = ideal[group] - d * Rounding.Nearest(ideal[group] / d, shape.LowScale, shape.HighScale);
                    cost += curvature[group] * miss * miss;
                }

                int place = starts.Length - 1;
                if (!(cost < least[place])) continue;
                for (; place > 0 && cost < least[place - 1]; place--) (least[place], starts[place]) = (least[place - 1], starts[place - 1]);
                (least[place], starts[place]) = (cost, d);
            }
        }
    }

    // Rounds everything by a given d, each group with the scale code that serves it best; gives the error, and the d that refits the codes.
    private static (double Error, float Refit) Fit(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, ReadOnlySpan<float> ideal, float d, BestScaleShape shape, Span<byte> codes, Span<byte> scales)
    {
        int size = shape.GroupValues;
        Span<byte> trial = stackalloc byte[size];
        double total = 0, cross = 0, square = 0;
        for (int group = 0; group < shape.Groups; group++)
        {
            ReadOnlySpan<float> x = values.Slice(group * size, size), w = weights.Slice(group * size, size);
            int middle = Rounding.Nearest(ideal[group] / d, shape.LowScale, shape.HighScale);
            double least = double.PositiveInfinity, bestCross = 0, bestSquare = 0;
            for (int code = Math.Max(shape.LowScale, middle - 1); code <= Math.Min(shape.HighScale, middle + 1); code++)
            {
                float scale = d * code, inverse = scale == 0 ? 0 : 1 / scale;
                double error = 0, groupCross = 0, groupSquare = 0;
                for (int i = 0; i < size; i++)
                {
                    int q = shape.Levels.Nearest(x[i] * inverse);
                    trial[i] = (byte)q;
                    float level = shape.Levels.Levels[q];
                    double miss = x[i] - scale * level, unit = code * level;
                    error += w[i] * miss * miss;
                    groupCross += w[i] * x[i] * unit;
                    groupSquare += w[i] * unit * unit;
                }

                if (!(error < least)) continue;
                (least, bestCross, bestSquare) = (error, groupCross, groupSquare);
                trial.CopyTo(codes.Slice(group * size, size));
                scales[group] = (byte)(code - shape.LowScale);
            }

            total += least;
            cross += bestCross;
            square += bestSquare;
        }

        return (total, square > 0 ? (float)(cross / square) : d);
    }
}
