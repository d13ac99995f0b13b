using Nibble.Core.Formats;

namespace Nibble.Quantize.Methods;

/// <summary>How a format's groups get their scales: value = (d·s)·(level − zero) − dmin·m, with d and dmin for a block of groups, whole numbers s and m for each group.</summary>
/// <param name="Levels">What codes stand for.</param>
/// <param name="Group">Values of a group.</param>
internal sealed record GridShape(GridLevels Levels, int Group)
{
    /// <summary>Groups of a block, which share d and dmin.</summary>
    public int Groups { get; init; } = 1;

    /// <summary>The lowest s.</summary>
    public int LowScale { get; init; } = 1;

    /// <summary>The highest s; 1 where groups have no s of their own.</summary>
    public int HighScale { get; init; } = 1;

    /// <summary>The highest m; 0 where groups have no minimum.</summary>
    public int HighMin { get; init; }

    /// <summary>Whether a block of one group has a dmin of either sign (Q4_1, Q5_1); its m is 1.</summary>
    public bool HasOffset { get; init; }

    /// <summary>Whether each group has a zero among its levels.</summary>
    public bool HasZeros { get; init; }

    /// <summary>The zero of all groups where they have none of their own.</summary>
    public int Zero { get; init; }

    /// <summary>Whether d may be negative.</summary>
    public bool IsSigned { get; init; }

    /// <summary>Whether d and dmin are stored as float16; else as float32.</summary>
    public bool IsHalf { get; init; } = true;

    /// <summary>d of a block of zeros.</summary>
    public float EmptyScale { get; init; }

    /// <summary>Whether groups have whole scales of their own.</summary>
    public bool HasGroupScales => HighScale > LowScale;

    /// <summary>Values of a block.</summary>
    public int Block => Group * Groups;

    /// <summary>What is stored of d or dmin.</summary>
    public float Store(double value)
    {
        float bound = IsHalf ? (float)Half.MaxValue : float.MaxValue;
        float bounded = Math.Clamp((float)value, -bound, bound);
        return IsHalf ? (float)HalfConversion.ToHalf(bounded) : bounded;
    }

    /// <summary>Formats of GGUF that codes can be chosen for.</summary>
    public static GridShape? Of(BlockFormat format)
    {
        ArgumentNullException.ThrowIfNull(format);
        return s_formats.GetValueOrDefault(format);
    }

    private static readonly GridLevels s_iq4 = GridLevels.Table(Array.ConvertAll(Codebooks.Iq4Nl.ToArray(), level => (float)level));

    private static readonly Dictionary<BlockFormat, GridShape> s_formats = new()
    {
        [BlockFormats.Q4_0] = new(GridLevels.Even(-8, 7), 32) { IsSigned = true },
        [BlockFormats.Q5_0] = new(GridLevels.Even(-16, 15), 32) { IsSigned = true },
        [BlockFormats.Q8_0] = new(GridLevels.Even(-127, 127), 32) { IsSigned = true },
        [BlockFormats.Q4_1] = new(GridLevels.Even(0, 15), 32) { HasOffset = true },
        [BlockFormats.Q5_1] = new(GridLevels.Even(0, 31), 32) { HasOffset = true },
        [BlockFormats.IQ4_NL] = new(s_iq4, 32) { IsSigned = true },
        [BlockFormats.Q2_K] = new(GridLevels.Even(0, 3), 16) { Groups = 16, LowScale = 0, HighScale = 15, HighMin = 15 },
        [BlockFormats.Q3_K] = new(GridLevels.Even(-4, 3), 16) { Groups = 16, LowScale = -32, HighScale = 31, IsSigned = true },
        [BlockFormats.Q4_K] = new(GridLevels.Even(0, 15), 32) { Groups = 8, LowScale = 0, HighScale = 63, HighMin = 63 },
        [BlockFormats.Q5_K] = new(GridLevels.Even(0, 31), 32) { Groups = 8, LowScale = 0, HighScale = 63, HighMin = 63 },
        [BlockFormats.Q6_K] = new(GridLevels.Even(-32, 31), 16) { Groups = 16, LowScale = -128, HighScale = 127, IsSigned = true },
        [BlockFormats.IQ4_XS] = new(s_iq4, 32) { Groups = 8, LowScale = -32, HighScale = 31, IsSigned = true },
    };
}
