using System.Text;
using Nibble.Llm.Sampling;

namespace Nibble.Llm.Tests.Sampling;

/// <summary>A vocabulary of given texts; a text is tokenized by the longest piece at each place, bytes that none starts with by token 0.</summary>
internal sealed class ToyVocabulary(params string[] pieces) : ISamplerVocabulary
{
    private readonly byte[][] _pieces = [.. pieces.Select(Encoding.UTF8.GetBytes)];

    /// <summary>The vocabulary of <see cref="SamplerCase"/>: each token a character.</summary>
    public static ToyVocabulary OfCharacters(int count) => new([.. Enumerable.Range(0, count).Select(id => ((char)(SamplerCase.FirstPiece + id)).ToString())]);

    public int Count => _pieces.Length;

    public ReadOnlySpan<byte> GetPiece(int id) => _pieces[id];

    public int[] Tokenize(ReadOnlySpan<byte> text)
    {
        List<int> ids = [];
        while (text.Length > 0)
        {
            int best = 0;
            for (int id = 1; id < _pieces.Length; id++)
                if (text.StartsWith(_pieces[id]) && (best == 0 || _pieces[id].Length > _pieces[best].Length)) best = id;
            if (best == 0 && text.StartsWith(_pieces[0])) text = text[_pieces[0].Length..];
            else text = text[(best == 0 ? 1 : _pieces[best].Length)..];
            ids.Add(best);
        }
        return [.. ids];
    }
}
