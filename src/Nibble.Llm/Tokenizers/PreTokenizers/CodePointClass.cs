namespace Nibble.Llm.Tokenizers.PreTokenizers;

/// <summary>What a code point is to a pre-tokenizer: its general category by first letter, and whether it is white space (<c>\s</c>).</summary>
[Flags]
internal enum CodePointClass : ushort
{
    /// <summary>Outside of the text.</summary>
    None = 0,

    /// <summary>Unassigned (Cn).</summary>
    Undefined = 1,

    /// <summary><c>\p{N}</c>.</summary>
    Number = 2,

    /// <summary><c>\p{L}</c>.</summary>
    Letter = 4,

    /// <summary><c>\p{Z}</c>.</summary>
    Separator = 8,

    /// <summary><c>\p{M}</c>.</summary>
    Mark = 16,

    /// <summary><c>\p{P}</c>.</summary>
    Punctuation = 32,

    /// <summary><c>\p{S}</c>.</summary>
    Symbol = 64,

    /// <summary><c>\p{C}</c> without the unassigned.</summary>
    Control = 128,

    /// <summary>The White_Space property; comes beside a category.</summary>
    Whitespace = 256,
}
