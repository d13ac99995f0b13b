namespace Nibble.Llm.Tests.Sampling;

/// <summary>Which logit vectors a sampler of llama.cpp v0.5.0 has a defined answer for.</summary>
internal enum Vectors
{
    /// <summary>All kinds.</summary>
    All,

    /// <summary>Without minus infinity: 0 * ln(0) is NaN in its typical-p.</summary>
    Finite,

    /// <summary>Finite and not nearly flat: its Mirostat 1 converts a k beyond int's range, which C++ leaves undefined.</summary>
    Steep,
}

/// <summary>200 logit vectors and token histories that the goldens are computed from; compiled into the oracle program too.</summary>
/// <remarks>Only exactly rounded operations are used, so every platform gets the same bits.</remarks>
internal static class LogitVectors
{
    public const int Count = 200;

    private static readonly int[] Sizes = [32, 64, 100, 257, 500, 1000, 1500, 2000];

    public static int Size(int index) => Sizes[index / 8 % Sizes.Length];

    /// <summary>The vector of an index: eight kinds in turn, each in eight sizes.</summary>
    /// <param name="index">0 to 199.</param>
    /// <param name="vectors">Leaves out what llama.cpp's sampler answers with NaN or an overflow.</param>
    public static float[] Make(int index, Vectors vectors)
    {
        Bits bits = new((ulong)index + 1);
        float[] logits = new float[Size(index)];
        for (int i = 0; i < logits.Length; i++)
        {
            double normal = bits.Normal();
            logits[i] = (float)((index % 8) switch
            {
                0 => normal,
                1 => normal * 4,
                2 => normal + (bits.Below(logits.Length) < 3 ? 15 : 0), // a few far above the rest
                3 => normal * (vectors == Vectors.Steep ? 2 : 0.05), // nearly flat
                4 => Math.Round(normal * 2 * 4) / 4, // many ties
                5 => bits.Below(10) < 3 && vectors == Vectors.All && i != 7 ? double.NegativeInfinity : normal * 3, // masked
                6 => -2 * Math.Sqrt(i) + normal, // ranked, shuffled below
                _ => Math.Clamp(normal * 12, -36, 36), // wide
            });
        }
        if (index % 8 == 6)
            for (int i = logits.Length - 1; i > 0; i--)
            {
                int other = bits.Below(i + 1);
                (logits[i], logits[other]) = (logits[other], logits[i]);
            }
        return logits;
    }

    /// <summary>A text of 0 to 159 tokens of few kinds, in which pieces repeat.</summary>
    public static int[] History(int index)
    {
        Bits bits = new((ulong)index + 1001);
        List<int> tokens = [];
        int length = index % 10 == 0 ? index % 3 : bits.Below(160);
        while (tokens.Count < length)
        {
            if (tokens.Count > 4 && bits.Below(3) == 0)
            {
                int start = bits.Below(tokens.Count - 2);
                for (int count = 2 + bits.Below(8); count > 0 && start < tokens.Count; count--) tokens.Add(tokens[start++]);
            }
            else
            {
                tokens.Add(bits.Below(30));
            }
        }
        return [.. tokens];
    }

    // SplitMix64.
    private sealed class Bits(ulong state)
    {
        public int Below(int bound) => (int)((Next() >> 33) % (ulong)bound);

        // The sum of four uniform numbers, scaled to a variance of 1.
        public double Normal()
        {
            double sum = 0;
            for (int i = 0; i < 4; i++) sum += (Next() >> 11) * (1.0 / (1UL << 53));
            return (sum - 2) * 1.7320508;
        }

        private ulong Next()
        {
            ulong z = state += 0x9E3779B97F4A7C15;
            z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
            z = (z ^ z >> 27) * 0x94D049BB133111EB;
            return z ^ z >> 31;
        }
    }
}
