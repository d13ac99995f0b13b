using System.Text;

namespace Nibble.Llm.Sampling;

/// <summary>The token sequences at which DRY stops to look back: for each first token, the tokens that must follow it.</summary>
/// <remarks>A text breaker rarely is a token of its own. A token that contains it is a breaker alone; a token that ends with a beginning of it is one when the tokens of the rest follow.</remarks>
public sealed class DryBreakers
{
    /// <summary>The longest breaker, in UTF-8 bytes.</summary>
    public const int MaxBytes = 40;

    private const int MaxTailTokens = 20;

    private readonly Dictionary<int, int[][]> _tails;

    private DryBreakers(Dictionary<int, List<int[]>> tails) =>
        _tails = tails.ToDictionary(pair => pair.Key, pair => pair.Value.OrderByDescending(tail => tail.Length).ToArray());

    /// <summary>Breakers given as token sequences.</summary>
    /// <exception cref="ArgumentException">A sequence is empty.</exception>
    public static DryBreakers FromTokens(IEnumerable<IReadOnlyList<int>> sequences)
    {
        ArgumentNullException.ThrowIfNull(sequences);
        Dictionary<int, List<int[]>> tails = [];
        foreach (IReadOnlyList<int> sequence in sequences)
        {
            if (sequence.Count == 0) throw new ArgumentException("A DRY sequence breaker without tokens is not valid.", nameof(sequences));
            AddTail(tails, sequence[0], [.. sequence.Skip(1)]);
        }
        return new DryBreakers(tails);
    }

    /// <summary>Breakers given as texts: all ways in which the vocabulary's tokens can spell or span them.</summary>
    public static DryBreakers FromTexts(IEnumerable<string> texts, ISamplerVocabulary vocabulary)
    {
        ArgumentNullException.ThrowIfNull(texts);
        ArgumentNullException.ThrowIfNull(vocabulary);
        Dictionary<int, List<int[]>> tails = [];
        foreach (string text in texts)
        {
            byte[] breaker = Encoding.UTF8.GetBytes(text);
            // The tail for a token depends only on how many bytes of the breaker the token covers.
            int[]?[] tailAfter = new int[breaker.Length][];
            for (int id = 0; id < vocabulary.Count; id++)
            {
                ReadOnlySpan<byte> piece = vocabulary.GetPiece(id);
                if (piece.IndexOf(breaker) >= 0)
                {
                    AddTail(tails, id, []);
                    continue;
                }
                for (int covered = Math.Min(piece.Length, breaker.Length - 1); covered > 0; covered--)
                {
                    if (!piece.EndsWith(breaker.AsSpan(0, covered))) continue;
                    tailAfter[covered] ??= [.. vocabulary.Tokenize(breaker.AsSpan(covered)).Take(MaxTailTokens)];
                    AddTail(tails, id, tailAfter[covered]!);
                }
            }
        }
        return new DryBreakers(tails);
    }

    /// <summary>Whether a token alone breaks a sequence.</summary>
    internal bool IsSingle(int id) => _tails.TryGetValue(id, out int[][]? tails) && tails[^1].Length == 0;

    /// <summary>How many of the last tokens follow the last breaker: no repetition longer than that counts.</summary>
    /// <param name="history">The text.</param>
    /// <param name="length">How many of its last tokens to look at.</param>
    internal int TokensSinceBreaker(TokenRing history, int length)
    {
        for (int distance = 0; distance < length; distance++)
        {
            if (!_tails.TryGetValue(history.FromEnd(distance), out int[][]? tails)) continue;
            foreach (int[] tail in tails)
                if (Follows(history, distance, tail)) return distance - tail.Length;
        }
        return length;
    }

    private static bool Follows(TokenRing history, int distance, int[] tail)
    {
        if (tail.Length > distance) return false;
        for (int i = 0; i < tail.Length; i++)
            if (history.FromEnd(distance - 1 - i) != tail[i]) return false;
        return true;
    }

    private static void AddTail(Dictionary<int, List<int[]>> tails, int head, int[] tail)
    {
        if (!tails.TryGetValue(head, out List<int[]>? known)) tails.Add(head, known = []);
        if (!known.Any(other => other.AsSpan().SequenceEqual(tail))) known.Add(tail);
    }
}
