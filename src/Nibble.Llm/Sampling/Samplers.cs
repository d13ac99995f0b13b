using System.Globalization;

namespace Nibble.Llm.Sampling;

/// <summary>The table of samplers. A sampler is one file and one line here; command line, chain and checks iterate over the lines.</summary>
public static class Samplers
{
    /// <summary>All samplers. Those of <see cref="SamplerPlace.Sequence"/> stand in llama.cpp v0.5.0's default order.</summary>
    public static IReadOnlyList<SamplerDescription> All { get; } =
    [
        LogitBiasSampler.Description,
        PenaltiesSampler.Description,
        DrySampler.Description,
        TopNSigmaSampler.Description,
        TopKSampler.Description,
        TypicalPSampler.Description,
        TopPSampler.Description,
        MinPSampler.Description,
        XtcSampler.Description,
        TemperatureSampler.Description,
        MirostatSampler.Description,
        MirostatV2Sampler.Description,
    ];

    /// <summary>The default order: <c>penalties;dry;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;temperature</c>.</summary>
    public static IReadOnlyList<SamplerDescription> DefaultSequence { get; } = [.. All.Where(sampler => sampler.Place == SamplerPlace.Sequence)];

    /// <summary>All flags: those of the chain, then each sampler's.</summary>
    public static IReadOnlyList<SamplingParameter> Parameters { get; } =
    [
        new TextParameter<IReadOnlyList<SamplerDescription>>("--samplers", "NAMES", o => o.SequenceSetting, "the samplers in order, separated by ';'")
        {
            MetadataKey = "general.sampling.sequence",
            Read = (_, text) => ParseSequence(text),
            Write = FormatSequence,
            Fault = SequenceFault,
        },
        new TextParameter<IReadOnlyList<SamplerDescription>>("--sampler-seq", "LETTERS", o => o.SequenceSetting, "the samplers in order, a letter each")
        {
            Aliases = ["--sampling-seq"],
            Read = (_, text) => ParseLetters(text),
            Write = sequence => string.Concat(sequence.Select(sampler => sampler.Letter)),
            Fault = SequenceFault,
        },
        new TextParameter<long>("--seed", "N", o => o.SeedSetting, "random seed; -1 takes one from the system")
        {
            Aliases = ["-s"],
            Read = (_, text) => long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long seed) ? seed : throw new FormatException(SeedRequirement),
            Write = seed => seed.ToString(CultureInfo.InvariantCulture),
            Fault = seed => seed is < -1 or > uint.MaxValue ? SeedRequirement : null,
        },
        new NumberParameter<int>("--min-keep", o => o.MinKeepSetting, 0, int.MaxValue, "candidates that top-p, min-p, typical-p and XTC leave at least; 0: off"),
        .. All.SelectMany(sampler => sampler.Parameters),
    ];

    private static string SeedRequirement => $"it must be a whole number from 0 to {uint.MaxValue}, or -1 for a random one.";

    /// <summary>Finds a sampler by name or alias.</summary>
    /// <returns>The sampler, or null.</returns>
    public static SamplerDescription? Find(string name) => All.FirstOrDefault(sampler => sampler.IsNamed(name));

    /// <summary>Reads a sequence such as <c>top_k;top_p;temperature</c>; an empty text is an empty sequence.</summary>
    /// <exception cref="FormatException">A name is unknown, or of a sampler that has no place in a sequence.</exception>
    public static IReadOnlyList<SamplerDescription> ParseSequence(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        return [.. text.Split(';', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Select(name =>
            DefaultSequence.FirstOrDefault(sampler => sampler.IsNamed(name))
            ?? throw new FormatException($"there is no sampler '{name}'; use some of {FormatSequence(DefaultSequence)}."))];
    }

    /// <summary>Reads a sequence of letters such as <c>kpt</c>.</summary>
    /// <exception cref="FormatException">A letter is unknown.</exception>
    public static IReadOnlyList<SamplerDescription> ParseLetters(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        return [.. text.Select(letter => DefaultSequence.FirstOrDefault(sampler => sampler.Letter == letter)
            ?? throw new FormatException($"there is no sampler '{letter}'; use some of {string.Join(", ", DefaultSequence.Select(sampler => $"{sampler.Letter} ({sampler.Name})"))}."))];
    }

    /// <summary>Writes a sequence as <see cref="ParseSequence"/> reads it.</summary>
    public static string FormatSequence(IReadOnlyList<SamplerDescription> sequence) => string.Join(';', sequence.Select(sampler => sampler.Name));

    private static string? SequenceFault(IReadOnlyList<SamplerDescription> sequence) =>
        sequence.FirstOrDefault(sampler => sampler.Place != SamplerPlace.Sequence) is SamplerDescription sampler
            ? $"{sampler.Name} has no place in a sequence; use some of {FormatSequence(DefaultSequence)}."
            : null;
}
