namespace Nibble.Llm.Tokenizers;

/// <summary>The families of tokenizers.</summary>
public enum TokenizerKind
{
    /// <summary>SentencePiece: pairs merge by the score of what they form; U+2581 spells a space (<c>llama</c>).</summary>
    SentencePiece,

    /// <summary>Byte-pair encoding: pairs merge by the rank of the merge (<c>gpt2</c>, <c>gemma4</c>).</summary>
    BytePairEncoding,

    /// <summary>WordPiece: each word is cut into the longest known pieces (<c>bert</c>).</summary>
    WordPiece,
}
