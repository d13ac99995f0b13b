using System.Runtime.Intrinsics;

namespace Nibble.Cpu.Packed;

/// <summary>A table of 16 values as whole numbers of 8 bits: value = unit (byte - 128), nearly.</summary>
/// <remarks>
/// The unit is the one, of a few thousand, that leaves the least squared error: with it products of NF4 are off by 2.2e-5 of their power, those of FP4 by 1.1e-5. 8-bit activations are off by about 2.9e-5
/// (normal ones, 32 a scale), so that a table costs less than they do; one that would cost more is not packed.
/// </remarks>
/// <param name="Bytes">The numbers plus 128.</param>
/// <param name="Unit">What a number is multiplied by.</param>
internal readonly record struct TableBytes(Vector128<byte> Bytes, float Unit)
{
    /// <summary>Squared error of the values, as a share of their squares, that a table may have at most.</summary>
    public const double MostError = 2e-5;

    /// <summary>Finds the bytes of a table.</summary>
    /// <param name="values">[16].</param>
    /// <returns>Null where no unit is near enough, or a value is not finite.</returns>
    public static TableBytes? Of(ReadOnlySpan<float> values)
    {
        float largest = 0;
        double squares = 0, least = double.MaxValue, best = 0;
        foreach (float value in values)
        {
            if (!float.IsFinite(value)) return null;
            largest = MathF.Max(largest, MathF.Abs(value));
            squares += (double)value * value;
        }

        if (largest == 0) return new TableBytes(Vector128.Create((byte)128), 1);
        for (double steps = 127; steps >= 63.5; steps -= 1.0 / 64)
        {
            double unit = largest / steps, error = 0;
            foreach (float value in values)
            {
                double miss = value - (unit * Math.Round(value / unit));
                error += miss * miss;
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
