using System.Runtime.InteropServices;
using Nibble.Core.Encodings;

namespace Nibble.Quantize.Methods;

/// <summary>
/// The weights of LLM.int8 (Dettmers et al., arXiv 2208.07339): rounded to float16 first, then code = round(127 w / max|w|) for each row; the scale is max|w|, in float32. Columns that the task stores apart stay float16,
/// have codes of 0 and count for no scale.
/// </summary>
internal static class NearestInt8
{
    /// <summary>Rounds a matrix.</summary>
    public static RoundedMatrix Round(RoundingTask task)
    {
        sbyte[] codes = new sbyte[task.Weights.Length];
        float[] scales = new float[task.Rows];
        int[] outliers = [.. task.Outliers];
        bool[] isApart = new bool[task.Columns];
        foreach (int column in outliers) isApart[column] = true;
        Half[] apart = new Half[task.Rows * outliers.Length];
        Work.For(task.Rows, row =>
        {
            ReadOnlySpan<float> values = task.Weights.AsSpan(row * task.Columns, task.Columns);
            float largest = 0;
            for (int i = 0; i < values.Length; i++)
                if (!isApart[i]) largest = MathF.Max(largest, MathF.Abs((float)(Half)values[i]));
            scales[row] = largest;
            float inverse = largest == 0 ? 0 : 1 / largest * 127; // in this order, to round as bitsandbytes does
            for (int i = 0; i < values.Length; i++)
                if (!isApart[i]) codes[(row * task.Columns) + i] = (sbyte)MathF.Round((float)(Half)values[i] * inverse);
            for (int k = 0; k < outliers.Length; k++) apart[(k * task.Rows) + row] = (Half)values[outliers[k]];
        });
        Dictionary<EncodedPart, byte[]> parts = new()
        {
            [EncodedPart.Codes] = MemoryMarshal.AsBytes(codes.AsSpan()).ToArray(),
            [EncodedPart.Scales] = MemoryMarshal.AsBytes(scales.AsSpan()).ToArray(),
        };
        if (outliers.Length > 0)
        {
            parts.Add(EncodedPart.OutlierColumns, MemoryMarshal.AsBytes(outliers.AsSpan()).ToArray());
            parts.Add(EncodedPart.OutlierValues, MemoryMarshal.AsBytes(apart.AsSpan()).ToArray());
        }

        return new RoundedMatrix(parts);
    }
}
