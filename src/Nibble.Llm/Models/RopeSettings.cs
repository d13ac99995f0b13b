using Nibble.Core.Compute;

namespace Nibble.Llm.Models;

/// <summary>How a file scales RoPE, and the rotation that follows from it.</summary>
/// <remarks>
/// Linear and YaRN (Peng et al., arXiv 2309.00071) as llama.cpp v0.5.0 works them in: every pair's angle is divided by its frequency factor; YaRN mixes the
/// scaled and the plain angle by a ramp over the pairs between two numbers of turns in the original context, and raises the magnitude by
/// 0.1 ln(factor) + 1.
/// </remarks>
internal sealed record RopeSettings
{
    /// <summary>What differs from the file's keys.</summary>
    public required RopeTraits Traits { get; init; }

    /// <summary>Values of a head that turn; twice the pairs.</summary>
    public required int Dimensions { get; init; }

    /// <summary>Which values turn together.</summary>
    public required RopePairing Pairing { get; init; }

    /// <summary>Base of the angles' geometric series.</summary>
    public float FrequencyBase { get; init; } = 10000;

    /// <summary>How many times longer the context became; 1 for none.</summary>
    public float Factor { get; init; } = 1;

    /// <summary>Context length before scaling.</summary>
    public int OriginalContext { get; init; }

    /// <summary>Whether the angles are mixed as YaRN does.</summary>
    public bool IsYarn { get; init; }

    /// <summary>Magnitude that the file asks for, on top of YaRN's.</summary>
    public float AttentionFactor { get; init; } = 1;

    /// <summary>The rotation.</summary>
    /// <param name="frequencyFactors">[pairs] divisors of the angles, or empty.</param>
    public RopeTable Build(ReadOnlySpan<float> frequencyFactors)
    {
        int pairs = Dimensions / 2;
        double[] frequencies = new double[pairs];
        double low = Math.Max(0, Math.Floor(PairAtTurns(Traits.BetaFast)));
        double high = Math.Min(Dimensions - 1, Math.Ceiling(PairAtTurns(Traits.BetaSlow)));
        for (int i = 0; i < pairs; i++)
        {
            double plain = 1.0 / (frequencyFactors.IsEmpty ? 1 : frequencyFactors[i]);
            double scaled = plain / Factor;
            double mix = IsYarn ? Traits.ExtrapolationFactor * (1 - Math.Clamp((i - low) / Math.Max(0.001, high - low), 0, 1)) : 0;
            frequencies[i] = IsStill(i) ? 0 : (scaled * (1 - mix)) + (plain * mix);
        }

        float magnitude = Traits.Magnitude * AttentionFactor * (IsYarn && Factor > 1 ? (0.1f * MathF.Log(Factor)) + 1 : 1);
        return new RopeTable(Pairing, frequencies, magnitude, Traits.Offset, MathF.Pow(FrequencyBase, -2f / Dimensions));
    }

    /// <summary>Whether a pair belongs to the axis that does not move in text.</summary>
    private bool IsStill(int pair)
    {
        if (Traits.Sections is not { } sections) return false;
        int all = sections.Time + sections.Height + sections.Width + sections.Extra, place = pair % all;
        if (!Traits.IsInterleaved) return place >= all - sections.Extra;
        return place >= 3 * (place % 3 == 0 ? sections.Time : place % 3 == 1 ? sections.Height : sections.Width);
    }

    /// <summary>The pair, as a real number, that makes so many turns in the original context.</summary>
    private double PairAtTurns(double turns) =>
        Dimensions * Math.Log(Math.Max(1, OriginalContext) / (turns * 2 * Math.PI)) / (2 * Math.Log(FrequencyBase));
}
