using System.Runtime.InteropServices;
using Nibble.Core.Encodings;

namespace Nibble.Quantize.Methods;

/// <summary>
/// Groups of integers rounded to nearest. Symmetric: scale = max|w| / (2^(b-1) - 1), codes -2^(b-1) to 2^(b-1) - 1. Asymmetric: scale = (max(w, 0) - min(w, 0)) / (2^b - 1), zero = round(-min / scale). The scale is
/// rounded to float16 before anything is divided by it.
/// </summary>
internal static class NearestGroups
{
    /// <summary>Rounds a matrix.</summary>
    public static RoundedMatrix Round(RoundingTask task, GroupTarget target)
    {
        int size = target.IsWhole ? task.Weights.Length : target.GroupOf(task.Columns), groups = task.Weights.Length / size;
        byte[] codes = new byte[task.Weights.Length], zeros = new byte[groups];
        float[] scales = new float[groups];
        Work.For(groups, g =>
        {
            ReadOnlySpan<float> values = task.Weights.AsSpan(g * size, size);
            (scales[g], zeros[g]) = Range(values, target.Bits, target.Zero == GroupZero.Middle);
            Codes(values, scales[g], zeros[g], target.Bits, codes.AsSpan(g * size, size));
        });
        return Parts(task, target, codes, scales, zeros);
    }

    /// <summary>Scale and zero that cover the range of values.</summary>
    /// <param name="values">A group.</param>
    /// <param name="bits">Bits of a code.</param>
    /// <param name="isSymmetric">Whether the zero is in the middle.</param>
    /// <returns>A scale that float16 holds, 1 where it would be 0, and the zero.</returns>
    public static (float Scale, byte Zero) Range(ReadOnlySpan<float> values, int bits, bool isSymmetric)
    {
        float low = 0, high = 0;
        foreach (float value in values) (low, high) = (MathF.Min(low, value), MathF.Max(high, value));
        int highest = (1 << bits) - 1, middle = 1 << (bits - 1);
        float scale = (float)(Half)(isSymmetric ? MathF.Max(-low, high) / (middle - 1) : (high - low) / highest);
        if (scale == 0) scale = 1;
        return (scale, (byte)(isSymmetric ? middle : (int)Math.Clamp(MathF.Round(-low / scale), 0, highest)));
    }

    /// <summary>The nearest codes: round(w / scale) + zero, within the codes' range.</summary>
    public static void Codes(ReadOnlySpan<float> values, float scale, int zero, int bits, Span<byte> codes)
    {
        int highest = (1 << bits) - 1;
        for (int i = 0; i < values.Length; i++)
            codes[i] = (byte)Math.Clamp(MathF.Round(values[i] / scale) + zero, 0, highest);
    }

    /// <summary>Puts codes, scales and zeros into the parts that the target has.</summary>
    /// <param name="task">The matrix.</param>
    /// <param name="target">The target.</param>
    /// <param name="codes">[rows x columns].</param>
    /// <param name="scales">[rows x groups], which float16 holds.</param>
    /// <param name="zeros">[rows x groups]; they do not count where the target is symmetric.</param>
    public static RoundedMatrix Parts(RoundingTask task, GroupTarget target, byte[] codes, float[] scales, byte[] zeros)
    {
        byte[] packed = new byte[(long)codes.Length * target.Bits / 8];
        CodeBits.Pack(codes, target.Bits, packed);
        Dictionary<EncodedPart, byte[]> parts = new() { [EncodedPart.Codes] = packed, [EncodedPart.Scales] = Halves(scales) };
        if (target.Zero == GroupZero.Integer) parts.Add(EncodedPart.Zeros, zeros);
        return new RoundedMatrix(parts);
    }

    /// <summary>Float16 bytes.</summary>
    public static byte[] Halves(float[] values) => MemoryMarshal.AsBytes(Array.ConvertAll(values, value => (Half)value).AsSpan()).ToArray();
}
