using System.Runtime.InteropServices;
using Nibble.Core.Encodings;

namespace Nibble.Quantize.Methods;

/// <summary>The weights of LLM.int8 (Dettmers et al., arXiv 2208.07339): rounded to float16 first, then code = round(127 w / max|w|) for each row; the scale is max|w|, in float32.</summary>
internal static class NearestInt8
{
    /// <summary>Rounds a matrix.</summary>
    public static RoundedMatrix Round(RoundingTask task)
    {
        sbyte[] codes = new sbyte[task.Weights.Length];
        float[] scales = new float[task.Rows];
        Work.For(task.Rows, row =>
        {
            ReadOnlySpan<float> values = task.Weights.AsSpan(row * task.Columns, task.Columns);
            float largest = 0;
            foreach (float value in values) largest = MathF.Max(largest, MathF.Abs((float)(Half)value));
            scales[row] = largest;
            float inverse = largest == 0 ? 0 : 1 / largest * 127; // in this order, to round as bitsandbytes does
            for (int i = 0; i < values.Length; i++) codes[(row * task.Columns) + i] = (sbyte)MathF.Round((float)(Half)values[i] * inverse);
        });
        return new RoundedMatrix(new Dictionary<EncodedPart, byte[]>
        {
            [EncodedPart.Codes] = MemoryMarshal.AsBytes(codes.AsSpan()).ToArray(),
            [EncodedPart.Scales] = MemoryMarshal.AsBytes(scales.AsSpan()).ToArray(),
        });
    }
}
