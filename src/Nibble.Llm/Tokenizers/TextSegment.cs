namespace Nibble.Llm.Tokenizers;

/// <summary>A run of prompt text with its origin.</summary>
/// <param name="Text">The text.</param>
/// <param name="IsLiteral">True where the text was written by the template's author, so that special tokens may be parsed in it; false for input, which stays plain text.</param>
public readonly record struct TextSegment(string Text, bool IsLiteral);
