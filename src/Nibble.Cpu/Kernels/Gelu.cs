using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Nibble.Core.Compute;
using Nibble.Core.Formats;

namespace Nibble.Cpu.Kernels;

/// <summary><see cref="Activation.Gelu"/>, looked up in <see cref="HalfGelu.Table"/>: equal to the reference bit for bit on every path.</summary>
internal static unsafe class Gelu
{
    /// <summary>y = gelu(gate) up.</summary>
    /// <param name="gate">[count].</param>
    /// <param name="up">[count], or null for 1.</param>
    /// <param name="y">[count], overwritten; may be gate or up.</param>
    /// <param name="count">Values.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(float* gate, float* up, float* y, int count)
    {
        float* table = (float*)Unsafe.AsPointer(ref MemoryMarshal.GetReference(HalfGelu.Table));
        int i = 0;
        for (; i <= count - 8; i += 8)
        {
            Vector256<float> x = Vector256.Load(gate + i);
            Vector256<float> result = Vector256.ConditionalSelect(
                Vector256.GreaterThanOrEqual(x, Vector256.Create(HalfGelu.Limit)), x, Look(table, HalfConversion.ToHalf(x).AsInt32()));
            (up is null ? result : result * Vector256.Load(up + i)).Store(y + i);
        }

        for (; i < count; i++)
        {
            float x = gate[i], result = x >= HalfGelu.Limit ? x : table[BitConverter.HalfToUInt16Bits(HalfConversion.ToHalf(x))];
            y[i] = up is null ? result : result * up[i];
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Look(float* table, Vector256<int> bits) => Avx2.IsSupported
        ? Avx2.GatherVector256(table, bits, 4)
        : Vector256.Create(table[bits[0]], table[bits[1]], table[bits[2]], table[bits[3]], table[bits[4]], table[bits[5]], table[bits[6]], table[bits[7]]);
}
