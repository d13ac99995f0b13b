namespace Nibble.Llm.Sampling;

/// <summary>What DRY needs of a tokenizer to find the tokens that a sequence breaker spans.</summary>
public interface ISamplerVocabulary
{
    /// <summary>The number of tokens.</summary>
    int Count { get; }

    /// <summary>The UTF-8 bytes that a token stands for in a text, the text of special tokens included.</summary>
    ReadOnlySpan<byte> GetPiece(int id);

    /// <summary>The tokens of a text, without BOS and EOS and without parsing special tokens.</summary>
    /// <param name="text">UTF-8; it may start or end within a character.</param>
    int[] Tokenize(ReadOnlySpan<byte> text);
}
