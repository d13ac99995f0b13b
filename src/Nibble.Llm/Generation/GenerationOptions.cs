namespace Nibble.Llm.Generation;

/// <summary>Why a generation ended.</summary>
public enum FinishReason
{
    /// <summary>It goes on.</summary>
    None,

    /// <summary>The model ended its turn.</summary>
    EndOfGeneration,

    /// <summary>A stop string came.</summary>
    StopString,

    /// <summary>As many tokens as were asked for.</summary>
    Length,

    /// <summary>The context is full.</summary>
    ContextFull,
}

/// <summary>When a generation ends.</summary>
public sealed record GenerationOptions
{
    /// <summary>Tokens at most, an end-of-generation token included; null for no limit but the context.</summary>
    public int? MaxTokens { get; init; }

    /// <summary>Strings that end the text; they are not part of it.</summary>
    public IReadOnlyList<string> StopStrings { get; init; } = [];
}
