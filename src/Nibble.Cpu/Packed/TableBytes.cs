using System.Runtime.Intrinsics;
using Nibble.Core.Encodings;

namespace Nibble.Cpu.Packed;

/// <summary>A table of 16 values as whole numbers of 8 bits: value = unit (byte - 128), nearly.</summary>
/// <remarks>
/// The unit is the one, of a few thousand, that leaves the least squared error of the weights. Products of normal weights are then off by 2.2e-5 of their power with NF4 and by 1.1e-5 with FP4, where 8-bit activations
/// (normal ones, 32 a scale) cost 2.9e-5.
/// </remarks>
/// <param name="Bytes">The numbers plus 128.</param>
/// <param name="Unit">What a number is multiplied by.</param>
internal readonly record struct TableBytes(Vector128<byte> Bytes, float Unit)
{
    /// <summary>Squared error of the weights, as a share of their squares, that a table may make at most.</summary>
    public const double MostError = 1e-4;

    // Rows that are looked at to tell how much each value counts.
    private const int SampleRows = 32;

    /// <summary>Finds the bytes of a weight's table.</summary>
    /// <param name="weight">A weight with a table.</param>
    /// <returns>Null where no unit is near enough, or a value is not finite.</returns>
    public static TableBytes? Of(EncodedTensor weight)
    {
        double[] uses = new double[16];
        byte[] codes = new byte[weight.Columns];
        float[] scales = new float[weight.Columns / weight.ScaleRun], zeros = new float[scales.Length];
        long rows = Math.Min(SampleRows, weight.RowCount);
        for (long i = 0; i < rows; i++)
        {
            long row = i * weight.RowCount / rows;
            weight.CopyCodes(row, codes);
            weight.CopyScales(row, scales, zeros);
            for (int c = 0; c < codes.Length; c++)
                uses[codes[c]] += (double)scales[c / weight.ScaleRun] * scales[c / weight.ScaleRun];
        }

        return Of(weight.CodeValues, uses);
    }

    /// <summary>Finds the bytes of a table.</summary>
    /// <param name="values">[16].</param>
    /// <param name="uses">[16] how much the squared error of each value counts.</param>
    /// <returns>Null where no unit is near enough, or a number is not finite.</returns>
    public static TableBytes? Of(ReadOnlySpan<float> values, ReadOnlySpan<double> uses)
    {
        float largest = 0;
        double squares = 0, least = double.MaxValue, best = 0;
        for (int i = 0; i < 16; i++)
        {
            if (!float.IsFinite(values[i])) return null;
            largest = MathF.Max(largest, MathF.Abs(values[i]));
            squares += uses[i] * values[i] * values[i];
        }

        if (largest == 0) return new TableBytes(Vector128.Create((byte)128), 1);
        for (double steps = 127; steps >= 63.5; steps -= 1.0 / 64)
        {
            double unit = largest / steps, error = 0;
            for (int i = 0; i < 16; i++)
            {
                double miss = values[i] - (unit * Math.Round(values[i] / unit));
                error += uses[i] * miss * miss;
            }

            if (error < least) (least, best) = (error, unit);
        }

        if (!(least <= MostError * squares)) return null;
        Span<byte> bytes = stackalloc byte[16];
        for (int i = 0; i < 16; i++)
            bytes[i] = (byte)(128 + (int)Math.Round(values[i] / best));
        return new TableBytes(Vector128.Create<byte>(bytes), (float)best);
    }
}
