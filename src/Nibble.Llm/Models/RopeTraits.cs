namespace Nibble.Llm.Models;

/// <summary>How the rotation of a layer differs from what the file's keys say.</summary>
internal sealed record RopeTraits
{
    /// <summary>Not at all.</summary>
    public static RopeTraits Plain { get; } = new();

    /// <summary>No frequency factors.</summary>
    public static RopeTraits WithoutFactors { get; } = new() { HasFrequencyFactors = false };

    /// <summary>No frequency factors, and heads turn whole.</summary>
    public static RopeTraits Whole { get; } = new() { HasFrequencyFactors = false, IsWhole = true };

    /// <summary>Plain RoPE, whatever the file says of a longer context.</summary>
    public static RopeTraits Unscaled { get; } = new() { HasFrequencyFactors = false, Factor = 1, IsYarnAllowed = false, HasAttentionFactor = false };

    /// <summary>The rotation of layers with a sliding window, whose base may be its own.</summary>
    /// <param name="reader">The file.</param>
    /// <param name="fallbackBase">Base where the file names none; null for that of the other layers.</param>
    /// <param name="factor">Factor of the context; null for that of the other layers.</param>
    public static RopeTraits Sliding(ModelReader reader, float? fallbackBase = null, float? factor = null) =>
        new() { FrequencyBase = reader.Positive("rope.freq_base_swa", fallbackBase ?? reader.Positive("rope.freq_base", 10000)), Factor = factor };

    /// <summary>YaRN by the file's own numbers.</summary>
    /// <param name="reader">The file.</param>
    public static RopeTraits Yarn(ModelReader reader) => new()
    {
        BetaFast = reader.Number("rope.scaling.yarn_beta_fast", 32),
        BetaSlow = reader.Number("rope.scaling.yarn_beta_slow", 1),
        Magnitude = YarnMagnitude(reader),
    };

    /// <summary>What YaRN's magnitude is multiplied by for the file's <c>yarn_log_multiplier</c>.</summary>
    /// <remarks>As llama.cpp v0.5.0 (llama_context) has it: where the multiplier is m, YaRN's magnitude is divided by that of m.</remarks>
    /// <param name="reader">The file.</param>
    /// <param name="logMultiplierScale">What the file's multiplier is multiplied by.</param>
    /// <param name="isBothScaled">Whether the magnitude above the fraction uses the multiplier too (deepseek2).</param>
    public static float YarnMagnitude(ModelReader reader, float logMultiplierScale = 1, bool isBothScaled = false)
    {
        float factor = Rotations.Factor(reader), multiplier = logMultiplierScale * reader.Number("rope.scaling.yarn_log_multiplier", 0);
        float Magnitude(float m) => factor <= 1 ? 1 : (0.1f * m * MathF.Log(factor)) + 1;
        return Rotations.ScalingType(reader) == "yarn" && multiplier != 0 ? Magnitude(isBothScaled ? multiplier : 1) / Magnitude(multiplier) / Magnitude(1) : 1;
    }

    /// <summary>Whether a file has multimodal RoPE where its architecture leaves that to it: pairs of at least two axes.</summary>
    public static bool HasAxes(ModelReader reader) => reader.FindIntegers("rope.dimension_sections") is [> 0, > 0, ..];

    /// <summary>Multimodal RoPE by the file's <c>rope.dimension_sections</c>.</summary>
    /// <param name="reader">The file.</param>
    /// <param name="isInterleaved">Whether the axes take turns pair by pair.</param>
    public static RopeTraits Axes(ModelReader reader, bool isInterleaved)
    {
        int[]? sections = reader.FindIntegers("rope.dimension_sections");
        if (sections is null || sections.Length < 3 || sections.Any(pairs => pairs is < 0 or > 4096) || sections[..3].All(pairs => pairs == 0))
            throw reader.Error("rope.dimension_sections", "rope.dimension_sections must be the pairs of three or four axes, not all 0.");
        return new RopeTraits { Sections = (sections[0], sections[1], sections[2], sections.Length > 3 ? sections[3] : 0), IsInterleaved = isInterleaved };
    }

    /// <summary>Base of the angles; null for <c>rope.freq_base</c>.</summary>
    public float? FrequencyBase { get; init; }

    /// <summary>Factor of the context; null for the file's.</summary>
    public float? Factor { get; init; }

    /// <summary>Whether YaRN mixes angles where the file asks for it.</summary>
    public bool IsYarnAllowed { get; init; } = true;

    /// <summary>Whether <c>rope_freqs</c> divides the angles.</summary>
    public bool HasFrequencyFactors { get; init; } = true;

    /// <summary>Whether <c>rope.scaling.attn_factor</c> counts.</summary>
    public bool HasAttentionFactor { get; init; } = true;

    /// <summary>Turns in the original context above which YaRN does not scale.</summary>
    public float BetaFast { get; init; } = 32;

    /// <summary>Turns in the original context below which YaRN scales fully.</summary>
    public float BetaSlow { get; init; } = 1;

    /// <summary>How much of YaRN's mix there is.</summary>
    public float ExtrapolationFactor { get; init; } = 1;

    /// <summary>Factor of the magnitude on top of <c>rope.scaling.attn_factor</c>.</summary>
    public float Magnitude { get; init; } = 1;

    /// <summary>Values that turn; null for <c>rope.dimension_count</c>.</summary>
    public int? Dimensions { get; init; }

    /// <summary>Whether the architecture turns whole heads only: a file that says otherwise is refused.</summary>
    public bool IsWhole { get; init; }

    /// <summary>Values at the start of a head that stay as they are.</summary>
    public int Offset { get; init; }

    /// <summary>
    /// Pairs of each axis of multimodal RoPE, null for one axis. For text all axes are the token's position but the fourth, which is 0; <see cref="IsInterleaved"/> tells which
    /// pairs it has.
    /// </summary>
    public (int Time, int Height, int Width, int Extra)? Sections { get; init; }

    /// <summary>Whether the axes take turns pair by pair.</summary>
    public bool IsInterleaved { get; init; }
}
