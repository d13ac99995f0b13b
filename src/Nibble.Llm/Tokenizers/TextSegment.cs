namespace Nibble.Llm.Tokenizers;

/// <summary>
/// A stretch of a rendered prompt. Segments are encoded as one text: pre-tokenization and merging run across their borders, and only
/// control tokens know the difference. So a user cannot write one, and a prompt without such attempts gets the ids of its plain text.
/// </summary>
/// <param name="Text">The text.</param>
/// <param name="IsLiteral">
/// True where the chat template itself wrote the text: control tokens in it are recognised. False for text of the user, in which the
/// spelling of a control token is ordinary text. A spelling that crosses the border between the two is ordinary text too.
/// </param>
public readonly record struct TextSegment(string Text, bool IsLiteral);
