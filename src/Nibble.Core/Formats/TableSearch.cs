namespace Nibble.Core.Formats;

/// <summary>Rounding to the levels of <see cref="Codebooks"/>, and the search for a scale that suits them.</summary>
internal static class TableSearch
{
    // Where the nearest level of Iq4Nl changes; a value there takes the upper one. All are exact.
    private static ReadOnlySpan<float> Between => [-115.5f, -93.5f, -74, -57, -42, -28.5f, -16, -4.5f, 7, 19, 31.5f, 45.5f, 61, 79, 101];

    /// <summary>The code of the nearest level of <see cref="Codebooks.Iq4Nl"/>, the upper of two.</summary>
    public static int NearestIq4Nl(float value)
    {
        ReadOnlySpan<float> between = Between;
        int code = value < between[7] ? 0 : 8;
        code += value < between[code + 3] ? 0 : 4;
        code += value < between[code + 1] ? 0 : 2;
        return code + (value < between[code] ? 0 : 1);
    }

    /// <summary>The code of the nearest of scale * <see cref="Codebooks.E2M1Doubled"/>, the smaller magnitude of two.</summary>
    public static int NearestE2M1(float value, float scale)
    {
        ReadOnlySpan<sbyte> table = Codebooks.E2M1Doubled;
        float magnitude = MathF.Abs(value), least = magnitude;
        int nearest = 0;
        for (int code = 1; code < 8; code++)
        {
            float error = MathF.Abs(table[code] * scale - magnitude);
            if (error < least) (least, nearest) = (error, code);
        }

        return value < 0 && nearest > 0 ? nearest + 8 : nearest;
    }

    /// <summary>Rounds a group to scale * <see cref="Codebooks.E2M1Doubled"/>.</summary>
    /// <param name="values">[n] float32.</param>
    /// <param name="weights">[n] what an error counts.</param>
    /// <param name="scale">The scale.</param>
    /// <param name="codes">[n] overwritten.</param>
    /// <returns>The weighted squared error.</returns>
    public static double RoundE2M1(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, float scale, Span<byte> codes)
    {
        double error = 0;
        for (int i = 0; i < values.Length; i++)
        {
            codes[i] = (byte)NearestE2M1(values[i], scale);
            double miss = values[i] - (double)scale * Codebooks.E2M1Doubled[codes[i]];
            error += weights[i] * miss * miss;
        }

        return error;
    }

    /// <summary>
    /// Tries 16 scales for the levels of <see cref="Codebooks.Iq4Nl"/>: those that map the value of largest magnitude to -127 + k, k from -7 to 7, and to 127; keeps the one that leaves the least weighted
    /// squared error when refitted. Trials and order of sums are those of <c>quantize_row_iq4_nl_impl</c> in ggml-quants.c, llama.cpp v0.5.0.
    /// </summary>
    /// <param name="values">[n] float32.</param>
    /// <param name="weights">[n] what an error counts.</param>
    /// <returns>The scale, 0 of zeros.</returns>
    public static float Scale(ReadOnlySpan<float> values, ReadOnlySpan<float> weights)
    {
        float extreme = Rounding.Extreme(values);
        if (MathF.Abs(extreme) < Rounding.Tiny) return 0;
        (float cross, float square) = Sums(values, weights, 1 / (-extreme / Codebooks.Iq4Nl[0]));
        float scale = square > 0 ? cross / square : 0, best = scale * cross;
        for (int trial = -7; trial <= 7; trial++)
        {
            (cross, square) = Sums(values, weights, (trial + (float)Codebooks.Iq4Nl[0]) / extreme);
            if (!(square > 0 && cross * cross > best * square)) continue;
            scale = cross / square;
            best = scale * cross;
        }

        return scale;
    }

    private static (float Cross, float Square) Sums(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, float inverse)
    {
        float cross = 0, square = 0;
        for (int i = 0; i < values.Length; i++)
        {
            float level = Codebooks.Iq4Nl[NearestIq4Nl(inverse * values[i])], weighted = weights[i] * level;
            cross += weighted * values[i];
            square += weighted * level;
        }

        return (cross, square);
    }
}
