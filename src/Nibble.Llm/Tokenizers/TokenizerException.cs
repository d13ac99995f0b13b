namespace Nibble.Llm.Tokenizers;

/// <summary>A model's vocabulary that cannot be used: a kind of tokenizer that is not supported, or metadata that contradicts itself.</summary>
public sealed class TokenizerException : Exception
{
    /// <param name="message">What is wrong: the key, its value and what is allowed.</param>
    public TokenizerException(string message)
        : base(message)
    {
    }

    /// <param name="message">What is wrong: the key, its value and what is allowed.</param>
    /// <param name="innerException">What caused it.</param>
    public TokenizerException(string message, Exception innerException)
        : base(message, innerException)
    {
    }

    /// <summary>An exception without a message.</summary>
    public TokenizerException()
    {
    }
}
