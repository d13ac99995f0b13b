namespace Nibble.Llm.Tokenizers;

/// <summary>A part of a text cut at its special tokens: such a token, or text between two.</summary>
/// <param name="StartBytes">Where the part starts in the text's UTF-8.</param>
/// <param name="EndBytes">Where it ends.</param>
/// <param name="TokenId">The special token; -1 for text.</param>
internal readonly record struct TextFragment(int StartBytes, int EndBytes, int TokenId);
