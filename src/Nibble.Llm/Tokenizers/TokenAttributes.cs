namespace Nibble.Llm.Tokenizers;

/// <summary>What a token is. The first six are the types of <c>tokenizer.ggml.token_type</c>; a token may get more than one by its name.</summary>
[Flags]
public enum TokenAttributes
{
    /// <summary>None given.</summary>
    None = 0,

    /// <summary>Text.</summary>
    Normal = 1,

    /// <summary>Stands for what the vocabulary cannot spell.</summary>
    Unknown = 2,

    /// <summary>Steers the model; never comes from text of a user and is not shown.</summary>
    Control = 4,

    /// <summary>A piece that is matched in text before anything else, as it stands.</summary>
    UserDefined = 8,

    /// <summary>A free place.</summary>
    Unused = 16,

    /// <summary>One byte, spelled &lt;0x00&gt; to &lt;0xFF&gt;.</summary>
    Byte = 32,

    /// <summary>White space to its left belongs to it.</summary>
    StripLeft = 64,

    /// <summary>White space to its right belongs to it.</summary>
    StripRight = 128,

    /// <summary>Shown although it is a control token: the parts of an answer are told apart by it.</summary>
    Shown = 256,
}
