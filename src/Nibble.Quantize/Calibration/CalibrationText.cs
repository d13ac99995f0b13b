using System.Globalization;
using Nibble.Llm.Sessions;
using Nibble.Quantize.Evaluation;

namespace Nibble.Quantize.Calibration;

/// <summary>The chunks of a calibration text, cut as <see cref="Perplexity"/> cuts a text, some of them held out to check on.</summary>
/// <param name="Chunks">Chunks to calibrate on.</param>
/// <param name="HeldOut">Chunks that calibration does not see.</param>
public sealed record CalibrationText(IReadOnlyList<int[]> Chunks, IReadOnlyList<int[]> HeldOut)
{
    /// <summary>Fewer rows than these do not tell what a weight's inputs are like.</summary>
    public const int FewSamples = 1000;

    /// <summary>Cuts a text into whole chunks.</summary>
    /// <param name="ids">The text, without BOS.</param>
    /// <param name="chunkTokens">Ids of a chunk, at least 4.</param>
    /// <param name="bos">The id that replaces each chunk's first, or null.</param>
    /// <param name="maxChunks">Chunks at most, from the start; null for all.</param>
    /// <param name="heldOutShare">The share that is held out, 0 to 0.5: every n-th chunk, so that both parts are from everywhere in the text.</param>
    /// <exception cref="ArgumentException">The text is shorter than a chunk, or nothing would be left of one part.</exception>
    public static CalibrationText Cut(ReadOnlySpan<int> ids, int chunkTokens, int? bos, int? maxChunks = null, double heldOutShare = 0)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(chunkTokens, 4);
        if (maxChunks is { } most) ArgumentOutOfRangeException.ThrowIfLessThan(most, 1, nameof(maxChunks));
        if (!(heldOutShare is >= 0 and <= 0.5)) throw new ArgumentOutOfRangeException(nameof(heldOutShare), $"the share that is held out is {heldOutShare}; it must be 0 to 0.5.");
        int count = Math.Min(ids.Length / chunkTokens, maxChunks ?? int.MaxValue);
        if (count == 0) throw new ArgumentException($"the text has {ids.Length} ids; at least one chunk of {chunkTokens} is needed. Use a longer text or a smaller chunk.", nameof(ids));
        if (heldOutShare > 0 && count < 2) throw new ArgumentException($"the text has {count} chunk of {chunkTokens} ids; to hold one out, two are needed.", nameof(ids));
        int every = heldOutShare > 0 ? Math.Min(count, (int)Math.Round(1 / heldOutShare)) : 0;
        List<int[]> chunks = [], heldOut = [];
        for (int c = 0; c < count; c++)
        {
            int[] chunk = ids.Slice(c * chunkTokens, chunkTokens).ToArray();
            if (bos is { } id) chunk[0] = id;
            (every > 0 && c % every == every - 1 ? heldOut : chunks).Add(chunk);
        }

        return new CalibrationText(chunks, heldOut);
    }

    /// <summary>Some of the chunks, at equal distances over the text.</summary>
    /// <param name="most">How many at most; 0 for all.</param>
    public CalibrationText Spread(int most)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(most);
        return most == 0 || most >= Chunks.Count ? this : this with { Chunks = [.. Enumerable.Range(0, most).Select(i => Chunks[(int)((long)i * Chunks.Count / most)])] };
    }

    /// <summary>Whether the model reads the text as language that it knows.</summary>
    /// <remarks>
    /// The same ids are evaluated in the text's order and in a random one. Of a text that the model knows, most is predicted from what came before, and shuffling takes that away; of random ids, or a script
    /// or language that it never learned, nothing is. A few chunks from the start are looked at.
    /// </remarks>
    /// <param name="session">A session of the model, with room for a chunk; what it holds is forgotten.</param>
    /// <param name="textBytes">Bytes of the whole text as UTF-8.</param>
    /// <param name="textTokens">Ids of the whole text.</param>
    /// <param name="cancellation">Looked at between layers.</param>
    public TextFit Fit(Session session, long textBytes, long textTokens, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(session);
        const int Looked = 4;
        // Spread over the text, whose start may be a licence or a table of contents.
        int step = Math.Max(1, Chunks.Count / Looked);
        int[] ids = [.. Enumerable.Range(0, Math.Min(Looked, Chunks.Count)).SelectMany(i => Chunks[i * step])];
        int[] shuffled = [.. ids];
        new Random(1).Shuffle(shuffled);
        int tokens = Chunks[0].Length;
        double inOrder = Perplexity.Measure(session, ids, tokens, null, null, cancellation).Value, outOfOrder = Perplexity.Measure(session, shuffled, tokens, null, null, cancellation).Value;
        return new TextFit(Math.Log(inOrder), Math.Log(outOfOrder), (double)textBytes / textTokens);
    }
}

/// <summary>How well a calibration text suits a model.</summary>
/// <param name="Nll">Mean negative log-likelihood of the text's ids, nats.</param>
/// <param name="ShuffledNll">The same of its ids in a random order.</param>
/// <param name="BytesPerToken">Bytes of the text that a token stands for.</param>
public sealed record TextFit(double Nll, double ShuffledNll, double BytesPerToken)
{
    /// <summary>What a user should know, or null where the text suits.</summary>
    public string? Warning => ShuffledNll - Nll < LeastGain
        ? string.Create(CultureInfo.InvariantCulture, $"the model predicts the text hardly better than its shuffled ids ({Nll:F2} against {ShuffledNll:F2} nats a token): it does not look like what the model is used for. Use text in its language, as people write it.")
        : null;

    private const double LeastGain = 0.5;
}
