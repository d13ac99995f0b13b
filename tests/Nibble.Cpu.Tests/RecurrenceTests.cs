using System.Runtime.InteropServices;
using Nibble.Core.Compute;
using Nibble.Core.Formats;

namespace Nibble.Cpu.Tests;

/// <summary>The recurrent operations, against <see cref="ReferenceBackend"/>, on every path that runs here, with strided tensors; the same bits whatever the batch and the threads.</summary>
public class RecurrenceTests
{
    private const int Tokens = 7;

    // Heads, key heads, key size, value size.
    private static readonly (int Heads, int KeyHeads, int KeySize, int ValueSize)[] s_heads = [(1, 1, 1, 1), (4, 2, 5, 3), (6, 3, 16, 33), (3, 3, 67, 64), (4, 1, 128, 128)];

    // Heads, groups, head size, state size.
    private static readonly (int Heads, int Groups, int HeadSize, int StateSize)[] s_spaces = [(1, 1, 1, 1), (4, 2, 3, 5), (70, 1, 1, 16), (6, 3, 40, 31), (4, 1, 64, 128)];

    [Theory]
    [MemberData(nameof(Cases.Paths), MemberType = typeof(Cases))]
    public void DeltaRule_equals_the_reference(string path)
    {
        foreach ((int heads, int keyHeads, int keySize, int valueSize) in s_heads)
        {
            foreach (int steps in new[] { heads, heads * keySize })
            {
                foreach (bool isInterleaved in new[] { false, true })
                {
                    Check(path, heads * valueSize, keySize, (backend, state, y, first, count) =>
                    {
                        Random random = new(heads + keySize);
                        Tensor Input(int columns, float scale, float offset, int gap) => Part(backend, random, columns, scale, offset, gap, first, count);
                        using TestWeights rates = Rates(1, heads);
                        using Weight uploaded = backend.Upload(rates);
                        float unit = 1 / MathF.Sqrt(keySize);
                        Tensor queries = Input(keyHeads * keySize, 1, 0, 2), keys = Input(keyHeads * keySize, unit, 0, 0), values = Input(heads * valueSize, 1, 0, 1);
                        backend.DeltaRule(queries, keys, values, Input(steps, 0.05f, 0.2f, 3), uploaded, Input(heads, 0.1f, 0.4f, 0), isInterleaved, state, y);
                    });
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Cases.Paths), MemberType = typeof(Cases))]
    public void StateSpaceScan_equals_the_reference(string path)
    {
        foreach ((int heads, int groups, int headSize, int stateSize) in s_spaces)
        {
            foreach (int columns in new[] { 1, stateSize })
            {
                Check(path, heads * headSize, stateSize, (backend, state, y, first, count) =>
                {
                    Random random = new(heads + stateSize);
                    Tensor Input(int columns, float scale, float offset, int gap) => Part(backend, random, columns, scale, offset, gap, first, count);
                    using TestWeights rates = Rates(heads, columns), skips = new(BlockFormats.F32, heads, 1, 3);
                    using Weight uploaded = backend.Upload(rates), skip = backend.Upload(skips);
                    Tensor x = Input(heads * headSize, 1, 0, 2), steps = Input(heads, 0.05f, 0.2f, 0), b = Input(groups * stateSize, 1, 0, 1), c = Input(groups * stateSize, 1, 0, 3);
                    backend.StateSpaceScan(x, steps, uploaded, b, c, skip, state, y);
                });
            }
        }
    }

    // The operation of all tokens at once against the reference; then token by token, and with other numbers of threads, to the same bits.
    private static void Check(string path, int rows, int size, Action<Backend, Tensor, Tensor, int, int> run)
    {
        float[] Results(Backend backend, int batch)
        {
            float[] initial = Values.Random(new Random(9), rows * size);
            Tensor state = Values.Tensor(backend, rows, size, 2, initial), y = Values.Tensor(backend, Tokens, rows, 1);
            for (int first = 0; first < Tokens; first += batch)
            {
                int count = Math.Min(batch, Tokens - first);
                run(backend, state, y.SliceRows(first, count), first, count);
            }

            return [.. Values.Read(backend, y), .. Values.Read(backend, state)];
        }

        using ReferenceBackend reference = new();
        float[] expected = Results(reference, Tokens);
        float[]? bits = null;
        foreach (int threads in new[] { 1, 3 })
        {
            using CpuBackend backend = new(new CpuOptions { Path = path, Threads = threads });
            foreach (int batch in new[] { Tokens, 3, 1 })
            {
                float[] ours = Results(backend, batch);
                bits ??= ours;
                Assert.True(Values.SameBits(bits, ours), $"{rows} rows of {size}, {threads} threads, batches of {batch}");
            }
        }

        Assert.InRange(Nmse.Of(bits!, expected), 0, 1e-12);
    }

    private static TestWeights Rates(int rows, int columns)
    {
        TestWeights rates = new(BlockFormats.F32, rows, columns, 5);
        foreach (ref float rate in MemoryMarshal.Cast<byte, float>(rates.Bytes))
            rate = -0.1f - MathF.Abs(rate);
        return rates;
    }

    // Some rows of what all tokens have.
    private static Tensor Part(Backend backend, Random random, int columns, float scale, float offset, int gap, int first, int count)
    {
        float[] values = Values.Random(random, Tokens * columns);
        foreach (ref float value in values.AsSpan())
            value = (value * scale) + offset;
        return Values.Tensor(backend, count, columns, gap, values[(first * columns)..((first + count) * columns)]);
    }
}
