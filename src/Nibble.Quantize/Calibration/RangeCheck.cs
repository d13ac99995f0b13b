using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Llm.Models;

namespace Nibble.Quantize.Calibration;

/// <summary>What became of the activations that a weight met.</summary>
/// <param name="Weight">The weight's name.</param>
/// <param name="Values">Activations.</param>
/// <param name="Clipped">Those beyond what the weight's scale reaches.</param>
/// <param name="Error">The error of rounding and clipping as a share of their power.</param>
public sealed record RangeLoss(string Weight, long Values, long Clipped, double Error)
{
    /// <summary>The share that is clipped.</summary>
    public double ClippedShare => Values == 0 ? 0 : (double)Clipped / Values;
}

/// <summary>Looks how well the stored scales of a model's activations (<see cref="Weight.InputScale"/>) fit a text: one that they were not made from.</summary>
public sealed class RangeCheck : IActivationObserver
{
    private readonly Dictionary<string, (long Values, long Clipped, double Squares, double Errors)> _sums = new(StringComparer.Ordinal);
    private float[] _rounded = [];

    /// <summary>Runs a text through a model.</summary>
    /// <param name="model">A model whose backend is a <see cref="RecordingBackend"/>.</param>
    /// <param name="chunks">Ids, chunk by chunk, each evaluated alone.</param>
    /// <param name="cancellation">Looked at between layers.</param>
    /// <returns>An element for each weight with a scale, in the order in which they were met.</returns>
    /// <exception cref="ArgumentException">There are no chunks, or the model records nothing.</exception>
    public static IReadOnlyList<RangeLoss> Run(LanguageModel model, IReadOnlyList<int[]> chunks, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(chunks);
        RecordingBackend recorder = model.Backend as RecordingBackend
            ?? throw new ArgumentException($"the model runs on {model.Backend.Name} without a {nameof(RecordingBackend)}; load it onto one.", nameof(model));
        if (chunks.Count == 0) throw new ArgumentException("there are no chunks to check ranges on.", nameof(chunks));
        RangeCheck check = new();
        int longest = chunks.Max(chunk => chunk.Length);
        using LayerStream stream = new(model, longest, BlockFormats.F32);
        float[] states = new float[longest * stream.Width];
        try
        {
            recorder.Observer = check;
            foreach (int[] chunk in chunks)
                stream.Run(0, stream.LayerCount, chunk, states.AsSpan(0, chunk.Length * stream.Width), cancellation);
        }
        finally
        {
            recorder.Observer = null;
        }

        return [.. check._sums.Select(one => new RangeLoss(one.Key, one.Value.Values, one.Value.Clipped, one.Value.Squares == 0 ? 0 : one.Value.Errors / one.Value.Squares))];
    }

    /// <inheritdoc/>
    public void Observe(ReadOnlySpan<Weight> weights, ReadOnlySpan<float> x, int rows)
    {
        foreach (Weight weight in weights)
            if (weight.InputScale != 0) Add(weight, x);
    }

    /// <inheritdoc/>
    public void ObserveExperts(Weight weight, ReadOnlySpan<float> x, int rows, ReadOnlySpan<int> experts)
    {
        ArgumentNullException.ThrowIfNull(weight);
        if (weight.InputScale != 0) Add(weight, x);
    }

    private void Add(Weight weight, ReadOnlySpan<float> x)
    {
        if (_rounded.Length < x.Length) _rounded = new float[x.Length];
        InputRounding.Round(x, weight.InputScale, _rounded.AsSpan(0, x.Length));
        float reach = (InputRounding.Most + 0.5f) * weight.InputScale;
        (long values, long clipped, double squares, double errors) = _sums.GetValueOrDefault(weight.Name);
        for (int i = 0; i < x.Length; i++)
        {
            double error = x[i] - (double)_rounded[i];
            if (MathF.Abs(x[i]) > reach) clipped++;
            squares += (double)x[i] * x[i];
            errors += error * error;
        }

        _sums[weight.Name] = (values + x.Length, clipped, squares, errors);
    }
}
