using System.Runtime.Intrinsics;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Cpu.Kernels;

namespace Nibble.Cpu.Tests;

/// <summary>Tiles of keys and values that attention decodes.</summary>
public unsafe class KvTileTests
{
    public static TheoryData<string, int, bool> Tiles
    {
        get
        {
            TheoryData<string, int, bool> data = [];
            foreach (BlockFormat format in KvCache.Formats)
                foreach (int size in format.BlockValues == 32 ? new[] { 32, 64, 96 } : [1, 7, 8, 24, 64, 80])
                    foreach (bool isWild in new[] { false, true })
                        data.Add(format.Name, size, isWild);
            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Tiles))]
    public void Tiles_have_the_bits_of_the_format(string name, int size, bool isWild)
    {
        Check<Lanes128, Vector128<float>>(name, size, isWild);
        if (CpuPaths.All.Any(p => p.IsSupported && p.Name == "avx2")) Check<Lanes256, Vector256<float>>(name, size, isWild);
        if (CpuPaths.All.Any(p => p.IsSupported && p.Name == "avx512")) Check<Lanes512, Vector512<float>>(name, size, isWild);
    }

    // Three KV heads, the second of them is decoded. Wild rows are any bytes: infinities, NaN and subnormal numbers too.
    private static void Check<TLanes, TVector>(string name, int size, bool isWild)
        where TLanes : struct, ILanes<TVector>
        where TVector : struct
    {
        BlockFormat format = BlockFormats.Find(name)!;
        int rowBytes = (int)format.RowBytes(3 * size), headBytes = (int)format.RowBytes(size);
        byte[] bytes = new byte[130 * rowBytes];
        Random random = new(size);
        if (isWild) random.NextBytes(bytes);
        else format.Encode(Values.Random(random, 130 * 3 * size), bytes);
        foreach ((int rows, int start, int from, int to) in new[] { (130, 64, 0, 64), (130, 64, 5, 64), (130, 64, 0, 61), (65, 64, 0, 64), (70, 128, 9, 23), (64, 192, 0, 64) })
        {
            using GuardedMemory<byte> memory = new(bytes.AsSpan(0, rows * rowBytes).ToArray(), GuardSide.End);
            AttentionArguments arguments = new()
            {
                Keys = memory.Pointer,
                Values = memory.Pointer,
                KeyBytes = rowBytes,
                ValueBytes = rowBytes,
                Rows = rows,
                Format = format,
                Layer = new KvLayer(3, size, size),
                Options = new AttentionOptions(3, 1),
            };
            using GuardedMemory<byte> scratch = new((int)arguments.RowBytes, GuardSide.End);
            using GuardedMemory<float> keys = new(arguments.PaddedKey * 64, GuardSide.End), values = new(arguments.PaddedValue * 64, GuardSide.End);
            keys.Span.Fill(float.NaN);
            values.Span.Fill(float.NaN);
            KvTiles<TLanes, TVector>.Keys(in arguments, 1, start, from, to, scratch.Pointer, keys.Pointer);
            KvTiles<TLanes, TVector>.Values(in arguments, 1, start, from, to, scratch.Pointer, values.Pointer);
            float[] expected = new float[size];
            for (int p = 0; p < 64; p++)
            {
                expected.AsSpan().Clear();
                if (p >= from && p < to) format.Decode(bytes.AsSpan(((start + p) % rows * rowBytes) + headBytes, headBytes), expected);
                else if (from == 0 && to == 64) continue;
                for (int i = 0; i < size; i++)
                {
                    Same(expected[i], keys.Span[(i * 64) + p], $"key {i} of position {p}");
                    Same(expected[i], values.Span[(p * arguments.PaddedValue) + i], $"value {i} of position {p}");
                }

                for (int i = size; i < arguments.PaddedValue; i++)
                    Assert.Equal(0, values.Span[(p * arguments.PaddedValue) + i]);
            }
        }

        // A position that nobody sees may be 0 of either sign.
        static void Same(float expected, float ours, string what) => Assert.True(
            BitConverter.SingleToInt32Bits(expected) == BitConverter.SingleToInt32Bits(ours) || (expected == 0 && ours == 0) || (float.IsNaN(expected) && float.IsNaN(ours)), $"{what}: {ours:R} and not {expected:R}");
    }
}
