using Nibble.Core.Gguf;
using Nibble.Llm.Models;

namespace Nibble.Quantize.Gradients;

/// <summary>An RMS norm y = g x r with r = 1 / sqrt(mean of x² + epsilon), over whole rows or groups of columns, and its gradient dx = r g dy - x r³ (sum of g dy x) / size.</summary>
internal sealed class NormGradient
{
    private readonly int _size;
    private readonly float _epsilon;
    private readonly float[] _gain;

    /// <summary>Reads a norm.</summary>
    /// <param name="norm">Its tensor.</param>
    /// <param name="columns">Values of a row.</param>
    /// <param name="file">The file.</param>
    public NormGradient(PlainNorm norm, int columns, GgufFile file)
    {
        _size = norm.Size;
        _epsilon = norm.Epsilon;
        _gain = new float[columns];
        if (norm.Gain is null)
        {
            Array.Fill(_gain, 1);
            return;
        }

        float[] gain = LinearGradient.Vector(file, norm.Gain);
        for (int i = 0; i < columns; i++)
            _gain[i] = gain[i % gain.Length];
    }

    /// <summary>y = norm of x.</summary>
    /// <param name="x">[tokens x columns].</param>
    /// <param name="y">[tokens x columns], overwritten.</param>
    public void Forward(Matrix x, Matrix y)
    {
        for (int t = 0; t < x.Rows; t++)
        {
            for (int start = 0; start < x.Columns; start += _size)
            {
                ReadOnlySpan<float> input = x.Row(t).Slice(start, _size), gain = _gain.AsSpan(start, _size);
                Span<float> output = y.Row(t).Slice(start, _size);
                float factor = Factor(input);
                for (int i = 0; i < _size; i++)
                    output[i] = input[i] * factor * gain[i];
            }
        }
    }

    /// <summary>dx = the gradient at x, or dx += it.</summary>
    /// <param name="x">[tokens x columns] what the norm read.</param>
    /// <param name="dy">[tokens x columns] the gradient at y; may be <paramref name="dx"/> where nothing is added.</param>
    /// <param name="dx">[tokens x columns].</param>
    /// <param name="add">Whether it is added.</param>
    public void Backward(Matrix x, Matrix dy, Matrix dx, bool add)
    {
        for (int t = 0; t < x.Rows; t++)
        {
            for (int start = 0; start < x.Columns; start += _size)
            {
                ReadOnlySpan<float> input = x.Row(t).Slice(start, _size), above = dy.Row(t).Slice(start, _size), gain = _gain.AsSpan(start, _size);
                Span<float> below = dx.Row(t).Slice(start, _size);
                float factor = Factor(input), mean = RowMath.Dot(gain, above, input) * factor * factor * factor / _size;
                for (int i = 0; i < _size; i++)
                {
                    float value = (factor * gain[i] * above[i]) - (mean * input[i]);
                    below[i] = add ? below[i] + value : value;
                }
            }
        }
    }

    private float Factor(ReadOnlySpan<float> x) => 1 / MathF.Sqrt((RowMath.Dot(x, x) / _size) + _epsilon);
}
