using Nibble.Llm.Tokenizers;

namespace Nibble.Llm.Templates;

/// <summary>A rendered template whose every character knows whether the template's author wrote it or it came from input.</summary>
public sealed class RenderedPrompt
{
    internal RenderedPrompt(MarkedText text)
    {
        Text = text.Text;
        Segments = text.ToSegments();
    }

    /// <summary>The whole text.</summary>
    public string Text { get; }

    /// <summary>
    /// The text cut where its origin changes; concatenated they give <see cref="Text"/>. Special tokens may be parsed only in
    /// segments whose <see cref="TextSegment.IsLiteral"/> is true.
    /// </summary>
    public IReadOnlyList<TextSegment> Segments { get; }
}
