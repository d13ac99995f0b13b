using Nibble.Core.Gguf;
using Nibble.Core.Memory;
using Nibble.Llm.Models;
using Nibble.Llm.Sampling;

namespace Nibble.Quantize.Gradients;

/// <summary>The last norm and the output matrix: logits, and either the gradient of the negative log-likelihood of given next tokens, or a random vector whose covariance is the Fisher information at the logits.</summary>
/// <remarks>
/// With p = softmax of the logits and signs e of +1 and -1 at random, g = sqrt(p) e - p (sum of sqrt(p) e) has the mean 0 and the covariance diag(p) - p pᵀ, as the gradient for a token drawn from p has. But where
/// the model is nearly sure of a token, nearly all draws give a gradient of nearly 0 and the rare others everything, while this one is about as long each time: a text tells the same much sooner.
/// </remarks>
internal sealed unsafe class HeadGradient : IDisposable
{
    // Tokens whose logits are in memory at a time.
    private const int Slab = 64;

    private readonly NormGradient? _norm;
    private readonly int _width;
    private readonly float _scale, _cap;

    /// <summary>Reads the head.</summary>
    /// <param name="decoder">The model's parts.</param>
    /// <param name="file">The file.</param>
    public HeadGradient(PlainDecoder decoder, GgufFile file)
    {
        _width = decoder.Width;
        _norm = decoder.OutputNorm is null ? null : new NormGradient(decoder.OutputNorm, _width, file);
        (_scale, _cap) = (decoder.LogitScale, decoder.LogitSoftCap);
        Output = new LinearGradient(decoder.Output, file);
    }

    /// <summary>The output matrix.</summary>
    public LinearGradient Output { get; }

    /// <summary>Runs over a chunk.</summary>
    /// <param name="state">[tokens x width] what the last layer gave, replaced by the gradient at it.</param>
    /// <param name="source">Gives the signs where there are no <paramref name="labels"/>.</param>
    /// <param name="labels">[tokens] next tokens; empty for a random gradient.</param>
    /// <param name="hidden">[tokens x width] overwritten with what the output matrix reads.</param>
    /// <param name="spread">[vocabulary] sums of f² p (1 - p), added to, where f is what a product of the matrix changes its logit by.</param>
    /// <returns>The sum of the negative log-likelihoods of the labels, nats; without them 0, or NaN where a logit is no finite number.</returns>
    public double Run(Matrix state, RandomSource source, ReadOnlySpan<int> labels, Matrix hidden, Span<double> spread)
    {
        if (_norm is null) state.Span.CopyTo(hidden.Span);
        else _norm.Forward(state, hidden);
        int vocabulary = Output.Rows;
        using NativeBuffer memory = new(sizeof(float) * ((long)Slab * (vocabulary + _width)), isZeroed: false);
        float[] slopes = _cap == 0 ? [] : new float[vocabulary];
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
                if (_scale != 1) RowMath.Scale(row, _scale, row);
                if (_cap != 0) RowMath.SoftCap(row, _cap, slopes);
                int label = labels.IsEmpty ? -1 : labels[first + t];
                float given = label < 0 ? 0 : row[label];
                (float highest, float sum) = RowMath.Softmax(row);
                for (int i = 0; i < vocabulary; i++)
                {
                    float factor = _cap == 0 ? _scale : _scale * slopes[i];
                    spread[i] += factor * factor * row[i] * (1 - row[i]);
                }

                if (label >= 0)
                {
                    loss += highest + Math.Log(sum) - given;
                    row[label] -= 1;
                }
                else
                {
                    loss += 0 * (highest + sum);
                    Randomize(row, source);
                }

                if (_cap != 0)
                    for (int i = 0; i < vocabulary; i++)
                        row[i] *= slopes[i];
                if (_scale != 1) RowMath.Scale(row, _scale, row);
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

    // p becomes g.
    private static void Randomize(Span<float> row, RandomSource source)
    {
        double sum = 0;
        // The signs come again below from a copy of the source.
        RandomSource again = source.Clone();
        for (int start = 0; start < row.Length; start += 64)
        {
            ulong bits = source.Next();
            Span<float> part = row[start..Math.Min(start + 64, row.Length)];
            for (int i = 0; i < part.Length; i++)
                sum += Signed(MathF.Sqrt(part[i]), bits >> i);
        }

        float mean = (float)sum;
        for (int start = 0; start < row.Length; start += 64)
        {
            ulong bits = again.Next();
            Span<float> part = row[start..Math.Min(start + 64, row.Length)];
            for (int i = 0; i < part.Length; i++)
                part[i] = Signed(MathF.Sqrt(part[i]), bits >> i) - (part[i] * mean);
        }
    }

    private static float Signed(float value, ulong bit) => BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits(value) | ((uint)(bit & 1) << 31));
}
