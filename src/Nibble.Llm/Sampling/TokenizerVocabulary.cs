using System.Text;
using Nibble.Llm.Tokenizers;

namespace Nibble.Llm.Sampling;

/// <summary>A tokenizer's pieces, as DRY needs them.</summary>
/// <param name="tokenizer">The tokenizer.</param>
public sealed class TokenizerVocabulary(Tokenizer tokenizer) : ISamplerVocabulary
{
    /// <inheritdoc/>
    public int Count => tokenizer.Vocabulary.Count;

    /// <inheritdoc/>
    public ReadOnlySpan<byte> GetPiece(int id) => tokenizer.Vocabulary.TokenBytes(id);

    /// <inheritdoc/>
    public int[] Tokenize(ReadOnlySpan<byte> text) => tokenizer.Encode(Encoding.UTF8.GetString(text), parseSpecial: false, addBosEos: false);
}
