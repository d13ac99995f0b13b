using Nibble.Llm.Models;
using Nibble.Llm.Sessions;

namespace Nibble.Quantize.Evaluation;

/// <summary>What a perplexity run found.</summary>
/// <param name="Value">e to the mean negative log-likelihood of the counted predictions.</param>
/// <param name="StandardError">Standard error of <paramref name="Value"/>, from the spread of single predictions.</param>
/// <param name="TextTokens">Ids of the text.</param>
/// <param name="ChunkTokens">Ids of a chunk.</param>
/// <param name="ChunkNll">[chunks] mean negative log-likelihood of each chunk, nats.</param>
/// <param name="Counted">Predictions that count.</param>
public sealed record PerplexityResult(double Value, double StandardError, int TextTokens, int ChunkTokens, IReadOnlyList<double> ChunkNll, int Counted);

/// <summary>How well a model predicts a text.</summary>
/// <remarks>
/// As llama.cpp v0.5.0's perplexity tool counts: the text is cut into whole chunks, each is evaluated alone, and the predictions of its second half count
/// (for 512 ids the last 255), so that each has at least half a chunk of context. Where the vocabulary asks for a BOS, it replaces each chunk's first id.
/// </remarks>
public static class Perplexity
{
    /// <summary>Measures.</summary>
    /// <param name="session">A session of the model, with room for a chunk; what it holds is forgotten.</param>
    /// <param name="ids">The text, without BOS.</param>
    /// <param name="chunkTokens">Ids of a chunk, at least 4.</param>
    /// <param name="bos">The id that replaces each chunk's first, or null.</param>
    /// <param name="progress">Told of each chunk that is done: its index and its mean NLL.</param>
    /// <param name="cancellation">Looked at between layers.</param>
    /// <exception cref="ArgumentException">The text is shorter than a chunk, or the chunk does not fit.</exception>
    public static PerplexityResult Measure(
        Session session, ReadOnlySpan<int> ids, int chunkTokens, int? bos, IProgress<(int Chunk, double Nll)>? progress, CancellationToken cancellation)
    {
        TextChunks text = new(session, ids, chunkTokens, bos);
        int first = text.First;
        double total = 0, squares = 0;
        int counted = 0;
        List<double> chunkNll = [];
        int[] chunk = new int[chunkTokens];
        for (int c = 0; c < text.Count; c++)
        {
            text.CopyTo(c, chunk);
            double sum = 0;
            session.Rewind(0, cancellation);
            session.Evaluate(
                chunk,
                first,
                (position, logits) =>
                {
                    if (position == chunkTokens - 1) return;
                    double nll = NegativeLogLikelihood(logits, chunk[position + 1]);
                    sum += nll;
                    squares += nll * nll;
                },
                cancellation);
            counted += text.Predictions;
            total += sum;
            chunkNll.Add(sum / text.Predictions);
            progress?.Report((c, sum / text.Predictions));
        }

        double mean = total / counted;
        double variance = Math.Max(0, (squares / counted) - (mean * mean));
        double value = Math.Exp(mean);
        double error = counted > 1 ? value * Math.Sqrt(variance / (counted - 1)) : double.PositiveInfinity;
        return new PerplexityResult(value, error, ids.Length, chunkTokens, chunkNll, counted);
    }

    /// <summary>-log softmax(logits)[target], in nats, summed in float64.</summary>
    /// <param name="logits">[vocabulary].</param>
    /// <param name="target">The id that came.</param>
    public static double NegativeLogLikelihood(ReadOnlySpan<float> logits, int target)
    {
        float highest = float.NegativeInfinity;
        foreach (float logit in logits)
            highest = MathF.Max(highest, logit);
        double sum = 0;
        foreach (float logit in logits)
            sum += MathF.Exp(logit - highest);
        return Math.Log(sum) - (logits[target] - highest);
    }
}
