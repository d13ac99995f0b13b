using System.Runtime.InteropServices;

namespace Nibble.Testing;

/// <summary>How far two lists of numbers are apart.</summary>
public static class Nmse
{
    /// <summary>Normalized mean square error: sum of (ours - theirs)^2 over sum of theirs^2. NaN anywhere gives NaN.</summary>
    public static double Of(ReadOnlySpan<float> ours, ReadOnlySpan<float> theirs)
    {
        if (ours.Length != theirs.Length) throw new ArgumentException($"{ours.Length} values cannot be compared with {theirs.Length}.");
        double error = 0, power = 0;
        for (int i = 0; i < ours.Length; i++)
        {
            double difference = (double)ours[i] - theirs[i];
            error += difference * difference;
            power += (double)theirs[i] * theirs[i];
        }

        return error / power;
    }

    /// <summary>A file of little-endian float32 values.</summary>
    public static float[] ReadFloats(string path) => MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(path)).ToArray();
}
