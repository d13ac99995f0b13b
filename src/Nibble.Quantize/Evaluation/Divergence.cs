using Nibble.Core.Memory;
using Nibble.Llm.Sessions;

namespace Nibble.Quantize.Evaluation;

/// <summary>What a comparison of a model with a baseline found. Errors are standard errors of the mean, from the spread of single predictions.</summary>
public sealed record DivergenceResult
{
    /// <summary>Mean of KL(baseline || model) over the counted predictions, over the whole vocabulary, in nats.</summary>
    public required double Kl { get; init; }

    /// <summary>Standard error of <see cref="Kl"/>.</summary>
    public required double KlError { get; init; }

    /// <summary>Half of the predictions have no greater KL.</summary>
    public required double KlMedian { get; init; }

    /// <summary>99 % of the predictions have no greater KL.</summary>
    public required double Kl99 { get; init; }

    /// <summary>The greatest KL.</summary>
    public required double KlMax { get; init; }

    /// <summary>The share of predictions, 0 to 1, in which both models have the same most probable id.</summary>
    public required double SameTop { get; init; }

    /// <summary>Standard error of <see cref="SameTop"/>.</summary>
    public required double SameTopError { get; init; }

    /// <summary>Mean of the model's probability of the id that came, less the baseline's.</summary>
    public required double DeltaP { get; init; }

    /// <summary>Root of the mean square of that difference.</summary>
    public required double DeltaPRms { get; init; }

    /// <summary>The model's perplexity.</summary>
    public required PerplexityResult Model { get; init; }

    /// <summary>The baseline's perplexity.</summary>
    public required PerplexityResult Baseline { get; init; }

    /// <summary>The model's perplexity divided by the baseline's.</summary>
    public double PerplexityRatio => Model.Value / Baseline.Value;

    /// <summary>Standard error of <see cref="PerplexityRatio"/>, from the differences of single predictions.</summary>
    public required double PerplexityRatioError { get; init; }
}

/// <summary>How far a model's predictions are from a baseline's on a text.</summary>
/// <remarks>
/// Counts the predictions that <see cref="Perplexity"/> counts. KL is summed over all ids, where llama.cpp v0.5.0 leaves out those with ln p below -16 and rounds the baseline's logits to 16 bits.
/// One chunk's logits are kept at a time, and of a large vocabulary a part of them.
/// </remarks>
public static class Divergence
{
    // Logits of both models that are kept at a time.
    private const long UsualSliceBytes = 256 << 20;
    private const int MinSliceTokens = 16;

    /// <summary>Measures.</summary>
    /// <param name="baseline">A session of the baseline, with room for a chunk; what it holds is forgotten.</param>
    /// <param name="model">A session of the model, with room for a chunk; what it holds is forgotten.</param>
    /// <param name="ids">The text, without BOS.</param>
    /// <param name="chunkTokens">Ids of a chunk, at least 4.</param>
    /// <param name="bos">The id that replaces each chunk's first, or null.</param>
    /// <param name="progress">Told of each chunk that is done: its index and the mean KL up to it.</param>
    /// <param name="cancellation">Looked at between layers.</param>
    /// <exception cref="ArgumentException">The text is shorter than a chunk, the chunk does not fit, or the vocabularies differ.</exception>
    /// <exception cref="InsufficientMemoryException">There is no memory for the logits.</exception>
    public static DivergenceResult Measure(
        Session baseline, Session model, ReadOnlySpan<int> ids, int chunkTokens, int? bos, IProgress<(int Chunk, double Kl)>? progress, CancellationToken cancellation) =>
        Measure(baseline, model, ids, chunkTokens, bos, UsualSliceBytes, progress, cancellation);

    // sliceBytes bounds the logits that are kept at a time; sixteen tokens of each model are kept even where they take more.
    internal static DivergenceResult Measure(
        Session baseline, Session model, ReadOnlySpan<int> ids, int chunkTokens, int? bos, long sliceBytes, IProgress<(int Chunk, double Kl)>? progress, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(baseline);
        ArgumentNullException.ThrowIfNull(model);
        if (baseline.Model.VocabularySize != model.Model.VocabularySize)
            throw new ArgumentException($"the baseline has a vocabulary of {baseline.Model.VocabularySize} ids, the model one of {model.Model.VocabularySize}; only models of one vocabulary can be compared.", nameof(model));
        TextChunks text = new(baseline.Capacity < model.Capacity ? baseline : model, ids, chunkTokens, bos);
        int vocabulary = model.Model.VocabularySize, predictions = text.Predictions;
        int slice = (int)Math.Min(predictions, Math.Max(MinSliceTokens, sliceBytes / (2L * sizeof(float) * vocabulary)));
        long bytes = 2L * sizeof(float) * slice * vocabulary;
        if (bytes > model.Model.Backend.AvailableBytes) throw new InsufficientMemoryException($"logits of {slice} tokens of both models need {bytes:N0} bytes; {model.Model.Backend.AvailableBytes:N0} are free.");
        using NativeBuffer baselineLogits = new(bytes / 2, isZeroed: false), modelLogits = new(bytes / 2, isZeroed: false);
        LogitComparison[] found = new LogitComparison[text.Count * predictions];
        int[] chunk = new int[chunkTokens];
        double klSum = 0;
        for (int c = 0; c < text.Count; c++)
        {
            text.CopyTo(c, chunk);
            baseline.Rewind(0, cancellation);
            model.Rewind(0, cancellation);
            int start = 0;
            for (int done = 0; done < predictions; done += slice)
            {
                int count = Math.Min(slice, predictions - done), end = text.First + done + count;
                Keep(baseline, chunk.AsSpan(start..end), count, baselineLogits, cancellation);
                Keep(model, chunk.AsSpan(start..end), count, modelLogits, cancellation);
                int offset = (c * predictions) + done, firstTarget = text.First + done + 1;
                Work.For(count, row => found[offset + row] = LogitComparison.Of(
                    baselineLogits.Span<float>((long)row * vocabulary, vocabulary), modelLogits.Span<float>((long)row * vocabulary, vocabulary), chunk[firstTarget + row]));
                start = end;
            }

            foreach (LogitComparison comparison in found.AsSpan(c * predictions, predictions))
                klSum += comparison.Kl;
            progress?.Report((c, klSum / ((c + 1.0) * predictions)));
        }

        return Summary(found, ids.Length, chunkTokens, predictions);
    }

    private static void Keep(Session session, ReadOnlySpan<int> ids, int count, NativeBuffer logits, CancellationToken cancellation)
    {
        int first = session.Length + ids.Length - count, vocabulary = session.Model.VocabularySize;
        session.Evaluate(ids, ids.Length - count, (position, values) => values.CopyTo(logits.Span<float>((long)(position - first) * vocabulary, vocabulary)), cancellation);
    }

    private static DivergenceResult Summary(LogitComparison[] found, int textTokens, int chunkTokens, int predictions)
    {
        double[] kl = Array.ConvertAll(found, one => one.Kl), deltaP = Array.ConvertAll(found, one => Math.Exp(-one.Nll) - Math.Exp(-one.BaselineNll));
        (double klMean, double klError) = Mean(kl);
        (double same, double sameError) = Mean(Array.ConvertAll(found, one => one.IsSameTop ? 1.0 : 0.0));
        (double logRatio, double logRatioError) = Mean(Array.ConvertAll(found, one => one.Nll - one.BaselineNll));
        Array.Sort(kl);
        return new DivergenceResult
        {
            Kl = klMean,
            KlError = klError,
            KlMedian = Quantile(kl, 0.5),
            Kl99 = Quantile(kl, 0.99),
            KlMax = kl[^1],
            SameTop = same,
            SameTopError = sameError,
            DeltaP = Mean(deltaP).Value,
            DeltaPRms = Math.Sqrt(deltaP.Average(value => value * value)),
            Model = Perplexity(Array.ConvertAll(found, one => one.Nll)),
            Baseline = Perplexity(Array.ConvertAll(found, one => one.BaselineNll)),
            PerplexityRatioError = Math.Exp(logRatio) * logRatioError,
        };

        PerplexityResult Perplexity(double[] nll)
        {
            (double mean, double error) = Mean(nll);
            double[] chunkNll = [.. nll.Chunk(predictions).Select(chunk => chunk.Average())];
            return new PerplexityResult(Math.Exp(mean), Math.Exp(mean) * error, textTokens, chunkTokens, chunkNll, nll.Length);
        }
    }

    private static (double Value, double Error) Mean(double[] values)
    {
        double mean = values.Average(), squares = values.Sum(value => (value - mean) * (value - mean));
        return (mean, values.Length > 1 ? Math.Sqrt(squares / (values.Length - 1.0) / values.Length) : double.PositiveInfinity);
    }

    /// <summary>The value below which a share of the values lies, between neighbours in proportion.</summary>
    /// <param name="sorted">At least one value, ascending.</param>
    /// <param name="share">0 to 1.</param>
    internal static double Quantile(double[] sorted, double share)
    {
        double place = share * (sorted.Length - 1);
        int below = (int)place;
        double upper = sorted[Math.Min(below + 1, sorted.Length - 1)];
        return sorted[below] + ((place - below) * (upper - sorted[below]));
    }
}
