namespace Nibble.Llm.Sampling;

/// <summary>Where in a chain a sampler stands.</summary>
public enum SamplerPlace
{
    /// <summary>Before all that the user can order.</summary>
    First,

    /// <summary>Where the sequence of <see cref="SamplingOptions.Sequence"/> names it.</summary>
    Sequence,

    /// <summary>At the end, in place of the plain draw. With one of these, only the temperature of the sequence is used, as in llama.cpp.</summary>
    Last,
}

/// <summary>What a sampler is made for.</summary>
/// <param name="VocabularySize">The number of logits of a position.</param>
/// <param name="Vocabulary">The tokenizer's pieces, or null where none is at hand.</param>
public readonly record struct SamplerContext(int VocabularySize, ISamplerVocabulary? Vocabulary);

/// <summary>One row of the table of samplers, <see cref="Samplers.All"/>.</summary>
public sealed class SamplerDescription
{
    /// <summary>The name in a sequence, as llama.cpp spells it: <c>top_k</c>.</summary>
    public required string Name { get; init; }

    /// <summary>The letter in a short sequence; '\0' for a sampler that has no place in one.</summary>
    public char Letter { get; init; }

    /// <summary>Other names; those with a dash or nothing for an underscore need not be listed.</summary>
    public IReadOnlyList<string> Aliases { get; init; } = [];

    /// <summary>One line on what the sampler does.</summary>
    public required string Summary { get; init; }

    /// <summary>Where in a chain it stands.</summary>
    public SamplerPlace Place { get; init; } = SamplerPlace.Sequence;

    /// <summary>Its flags.</summary>
    public IReadOnlyList<SamplingParameter> Parameters { get; init; } = [];

    /// <summary>Makes the sampler, or gives null when the options switch it off.</summary>
    public required Func<SamplingOptions, SamplerContext, Sampler?> Create { get; init; }

    /// <summary>Whether a text names this sampler; case does not matter.</summary>
    public bool IsNamed(string name) =>
        Equal(name, Name) || Equal(name, Name.Replace('_', '-')) || Equal(name, Name.Replace("_", "", StringComparison.Ordinal)) || Aliases.Any(alias => Equal(name, alias));

    /// <inheritdoc/>
    public override string ToString() => Name;

    private static bool Equal(string a, string b) => string.Equals(a, b, StringComparison.OrdinalIgnoreCase);
}
