namespace Nibble.Llm.Tokenizers;

/// <summary>The ids of tokens with a role; null where the vocabulary has none.</summary>
public sealed record SpecialTokenIds
{
    /// <summary>Beginning of text (BERT: CLS).</summary>
    public int? Bos { get; init; }

    /// <summary>End of text.</summary>
    public int? Eos { get; init; }

    /// <summary>End of a turn.</summary>
    public int? Eot { get; init; }

    /// <summary>End of a message that expects a tool's answer.</summary>
    public int? Eom { get; init; }

    /// <summary>Unknown text.</summary>
    public int? Unknown { get; init; }

    /// <summary>Separator (BERT: SEP).</summary>
    public int? Separator { get; init; }

    /// <summary>Padding.</summary>
    public int? Padding { get; init; }

    /// <summary>A masked place.</summary>
    public int? Mask { get; init; }

    /// <summary>Fill in the middle: before the prefix.</summary>
    public int? FimPrefix { get; init; }

    /// <summary>Fill in the middle: before the suffix.</summary>
    public int? FimSuffix { get; init; }

    /// <summary>Fill in the middle: before the answer.</summary>
    public int? FimMiddle { get; init; }

    /// <summary>Fill in the middle: padding.</summary>
    public int? FimPadding { get; init; }

    /// <summary>Before a repository's name.</summary>
    public int? FimRepository { get; init; }

    /// <summary>Before a file.</summary>
    public int? FimSeparator { get; init; }
}
