namespace Nibble.Llm.Tokenizers.PreTokenizers;

/// <summary>Where the English contractions 's, 't, 're, 've, 'm, 'll and 'd are one piece.</summary>
internal enum Contractions
{
    /// <summary>Nowhere.</summary>
    None,

    /// <summary>A piece of their own, in lower case only.</summary>
    LowerCase,

    /// <summary>A piece of their own, in any case.</summary>
    AnyCase,

    /// <summary>The end of the word before them, in any case.</summary>
    Suffix,
}

/// <summary>What a word of letters is. P stands for one code point that is neither letter nor number nor line break.</summary>
internal enum WordShape
{
    /// <summary><c> ?\p{L}+</c>.</summary>
    SpaceLetters,

    /// <summary><c>P?\p{L}+</c>.</summary>
    Letters,

    /// <summary><c>P?[\p{L}\p{M}]+</c>.</summary>
    LettersAndMarks,

    /// <summary>
    /// <c>P?U*L+|P?U+L*</c>, U letters other than a-z, L letters other than A-Z. Only ASCII has case here: llama.cpp v0.5.0 does not tell
    /// upper from lower case beyond it.
    /// </summary>
    CasedLetters,

    /// <summary>As <see cref="CasedLetters"/>, marks counting as letters.</summary>
    CasedLettersAndMarks,

    /// <summary><c>P?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+</c>: words joined by single spaces are one piece.</summary>
    Phrases,

    /// <summary>An ASCII punctuation mark or symbol with the ASCII letters after it, or <c>Q?[\p{L}\p{M}]+</c>, Q neither letter, punctuation, symbol nor line break.</summary>
    PunctuatedLetters,

    /// <summary>A run of Han characters, or <c>P?\p{L}+</c> without Han characters.</summary>
    HanOrLetters,
}

/// <summary>What belongs to a run of symbols after it.</summary>
internal enum SymbolTail
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary><c>[\r\n]*</c>.</summary>
    Newlines,

    /// <summary><c>[\r\n/]*</c>.</summary>
    NewlinesAndSlashes,

    /// <summary><c>[\r\n/]?</c>.</summary>
    OneNewlineOrSlash,
}

/// <summary>How white space is cut. In all of them a run leaves its last code point to the word behind it.</summary>
internal enum Spacing
{
    /// <summary><c>\s+(?!\S)|\s+</c>.</summary>
    Runs,

    /// <summary><c>\s*[\r\n]+</c> first, then as <see cref="Runs"/>.</summary>
    NewlinesThenRuns,

    /// <summary><c>[\r\n]</c> first, then as <see cref="Runs"/>.</summary>
    SingleNewlinesThenRuns,

    /// <summary><c>\s*[\r\n]+</c> first, then runs of 512, 256, 128, 64, 32, 16, 8, 4, 2 and 1.</summary>
    NewlinesThenPowersOfTwo,
}

/// <summary>The alternatives of a pre-tokenizer's main expression, tried in the order of the members.</summary>
internal sealed record WordRules
{
    /// <summary>Where contractions are one piece.</summary>
    public Contractions Contractions { get; init; } = Contractions.AnyCase;

    /// <summary>What a word of letters is.</summary>
    public WordShape Words { get; init; } = WordShape.Letters;

    /// <summary>The longest run of numbers in one piece; 0 where numbers are left alone.</summary>
    public int Digits { get; init; } = 1;

    /// <summary>Whether a space before numbers belongs to them.</summary>
    public bool DigitsTakeSpace { get; init; }

    /// <summary>Whether a run of symbols is of punctuation and symbols only (<c>[\p{P}\p{S}]+</c>), not of all that is neither letter, number nor white space.</summary>
    public bool StrictSymbols { get; init; }

    /// <summary>Whether marks are kept out of runs of symbols.</summary>
    public bool SymbolsWithoutMarks { get; init; }

    /// <summary>What belongs to a run of symbols after it.</summary>
    public SymbolTail SymbolTail { get; init; } = SymbolTail.Newlines;

    /// <summary>How white space is cut.</summary>
    public Spacing Spacing { get; init; } = Spacing.NewlinesThenRuns;
}
