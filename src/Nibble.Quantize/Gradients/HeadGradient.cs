using Nibble.Core.Gguf;
using Nibble.Core.Memory;
using Nibble.Llm.Models;
using Nibble.Llm.Sampling;

namespace Nibble.Quantize.Gradients;

/// <summary>The last norm and the output matrix: logits, a next token drawn from the model's own softmax, and the gradient of its negative log-likelihood.</summary>
internal sealed unsafe class HeadGradient : IDisposable
{
    // Tokens whose logits are in memory at a time.
    private const int Slab = 64;

    private readonly NormGradient? _norm;
    private readonly int _width;

    /// <summary>Reads the head.</summary>
    /// <param name="decoder">The model's parts.</param>
    /// <param name="file">The file.</param>
    public HeadGradient(PlainDecoder decoder, GgufFile file)
    {
        _width = decoder.Width;
        _norm = decoder.OutputNorm is null ? null : new NormGradient(decoder.OutputNorm, _width, file);
        Output = new LinearGradient(decoder.Output, file);
    }

    /// <summary>The output matrix.</summary>
    public LinearGradient Output { get; }

    /// <summary>Runs over a chunk.</summary>
    /// <param name="state">[tokens x width] what the last layer gave, replaced by the gradient at it.</param>
    /// <param name="source">Draws next tokens where <paramref name="labels"/> are negative.</param>
    /// <param name="labels">[tokens] next tokens; a negative one is drawn, and written there.</param>
    /// <param name="hidden">[tokens x width] overwritten with what the output matrix reads.</param>
    /// <param name="spread">[vocabulary] sums of p(1 - p), added to.</param>
    /// <returns>The sum of the negative log-likelihoods, nats.</returns>
    public double Run(Matrix state, RandomSource source, Span<int> labels, Matrix hidden, Span<double> spread)
    {
        if (_norm is null) state.Span.CopyTo(hidden.Span);
        else _norm.Forward(state, hidden);
        int vocabulary = Output.Rows;
        using NativeBuffer memory = new(sizeof(float) * ((long)Slab * (vocabulary + _width)), isZeroed: false);
        float* values = (float*)memory.Pointer;
        double loss = 0;
        for (int first = 0; first < state.Rows; first += Slab)
        {
            int count = Math.Min(Slab, state.Rows - first);
            Matrix input = new(hidden.Values + ((long)first * _width), count, _width), logits = new(values, count, vocabulary);
            Matrix gradient = new(values + ((long)Slab * vocabulary), count, _width);
            Output.Forward(input, logits);
            for (int t = 0; t < count; t++)
            {
                Span<float> row = logits.Row(t);
                ref int label = ref labels[first + t];
                float given = label >= 0 ? row[label] : 0;
                (float highest, float sum) = RowMath.Softmax(row);
                if (label < 0)
                {
                    label = Draw(row, source);
                    loss -= Math.Log(row[label]);
                }
                else
                {
                    loss += highest + Math.Log(sum) - given;
                }

                for (int i = 0; i < vocabulary; i++)
                    spread[i] += row[i] * (1 - row[i]);
                row[label] -= 1;
            }

            Output.Backward(logits, gradient, add: false);
            Matrix rows = new(state.Values + ((long)first * _width), count, _width);
            if (_norm is null) gradient.Span.CopyTo(rows.Span);
            else _norm.Backward(rows, gradient, rows, add: false);
        }

        return loss;
    }

    /// <inheritdoc/>
    public void Dispose() => Output.Dispose();

    private static int Draw(ReadOnlySpan<float> probabilities, RandomSource source)
    {
        double left = source.NextDouble();
        int last = 0;
        for (int i = 0; i < probabilities.Length; i++)
        {
            if (probabilities[i] <= 0) continue;
            last = i;
            left -= probabilities[i];
            if (left < 0) return i;
        }

        // What the rounded probabilities lack of 1.
        return last;
    }
}
