using Nibble.Core.Compute;
using Nibble.Core.Formats;

namespace Nibble.Cpu.Tests;

/// <summary>Operations that allocate would stop the world while tokens are made.</summary>
[CollectionDefinition(nameof(AllocationTests), DisableParallelization = true)]
[Collection(nameof(AllocationTests))]
public class AllocationTests
{
    [Theory]
    [InlineData(true, 1)]
    [InlineData(false, 1)]
    [InlineData(true, 2)]
    [InlineData(false, 2)]
    public void Operations_allocate_no_managed_memory_once_they_have_run(bool exact, int threads)
    {
        using CpuBackend backend = new(new CpuOptions { Exact = exact, Threads = threads });
        using TestWeights q4 = new(BlockFormats.Q4_1, 576, 576, 1), half = new(BlockFormats.F16, 577, 576, 2), gainSource = new(BlockFormats.F32, 1, 576, 3);
        using TestWeights expertSource = new(BlockFormats.Q4_0, 64, 576, 4, 4);
        using Weight a = backend.Upload(q4), b = backend.Upload(half), gain = backend.Upload(gainSource), experts = backend.Upload(expertSource);
        using TestWeights headSource = new(BlockFormats.F32, 9, 64, 5), tapSource = new(BlockFormats.F32, 576, 4, 6), nineSource = new(BlockFormats.F32, 1, 9, 7), fourSource = new(BlockFormats.F32, 1, 4, 8);
        using Weight heads = backend.Upload(headSource), taps = backend.Upload(tapSource), sinks = backend.Upload(nineSource), four = backend.Upload(fourSource);
        using KvCache ring = backend.AllocateKv([new KvLayer(3, 64, 64, 9)], 128, BlockFormats.F16, 7);
        using KvCache cache = backend.AllocateKv([new KvLayer(3, 64, 64)], 128, BlockFormats.F16, 7), small = backend.AllocateKv([new KvLayer(3, 64, 64)], 128, BlockFormats.Q8_0, 7);
        RopeTable rope = new(RopePairing.Halves, [.. Enumerable.Range(0, 32).Select(i => Math.Pow(1e4, -i / 32.0))], 1);
        RopeTable other = new(RopePairing.Adjacent, [1, 0.5], 1);
        int[] rows = [1, 2, 3, 4, 5, 6, 7];
        foreach (int tokens in new[] { 7, 1 })
        {
            Tensor x = Values.Tensor(backend, tokens, 576, 0, Values.Random(new Random(1), tokens * 576)), y = Values.Tensor(backend, tokens, 576), z = Values.Tensor(backend, tokens, 577);
            Tensor kv = Values.Tensor(backend, tokens, 192, 0, Values.Random(new Random(1), tokens * 192)), logits = Values.Tensor(backend, tokens, 4), shares = Values.Tensor(backend, tokens, 2);
            Tensor ids = Values.Tensor(backend, tokens, 2, type: ElementType.Int32), outputs = Values.Tensor(backend, tokens * 2, 64), combined = Values.Tensor(backend, tokens, 64);
            float[] values = new float[tokens * 576];
            Weight[] weights = [a, b];
            Tensor[] results = [y, z];
            int[] ones = [.. Enumerable.Repeat(1, tokens * 2)];
            Tensor state = Values.Tensor(backend, 3, 576), single = Values.Tensor(backend, tokens, 1, type: ElementType.Int32);
            Tensor nine = Values.Tensor(backend, tokens, 9), recurrent = Values.Tensor(backend, 576, 64);
            AttentionOptions full = new(9, 0.125f) { SoftCap = 5, AlibiBias = 8, Sinks = sinks, Temperature = new QueryTemperature(1, 4, 1) };
            int position = 0;

            void All()
            {
                backend.Write(values, y);
                backend.GetRows(a, rows.AsSpan(0, tokens), y);
                backend.Norm(x, new NormOptions(NormKind.Layer, 1e-5f, 64), heads, heads, y);
                backend.Norm(x, new NormOptions(NormKind.Rms, 1e-5f), gain, null, y);
                backend.MatMul(x, a, y);
                backend.MatMul(x, b, z);
                backend.MatMul(x, weights, results);
                backend.Rope(y, 64, position, rope);
                backend.Rope(y, 64, position, other);
                backend.StoreKv(kv, kv, cache, 0, position);
                backend.StoreKv(kv, kv, small, 0, position);
                backend.Attention(x, cache, 0, position, new AttentionOptions(9, 0.125f), y);
                backend.Attention(x, small, 0, position, new AttentionOptions(9, 0.125f), y);
                backend.GatedActivation(Activation.Silu, x, y, y);
                backend.Activate(Activation.Softplus, y, y);
                backend.Clamp(y, 2, y);
                backend.SoftCap(y, 2, y);
                backend.Copy(x, y);
                backend.Convolve(x, taps, gain, Activation.Silu, state, y);
                backend.DeltaRule(x, x, x, nine, sinks, nine, false, recurrent, y);
                backend.StateSpaceScan(x, nine, sinks, combined, combined, sinks, recurrent, y);
                backend.StoreKv(kv, kv, ring, 0, position);
                backend.Attention(x, ring, 0, position, in full, y);
                backend.Write(ones.AsSpan(0, tokens), single);
                backend.AddExpertBias(y, a, single);
                backend.Write(ones, ids);
                backend.Route(logits, new Routing(2, true, 1, GatingFunction.Sigmoid) { Groups = 2, GroupsUsed = 1 }, four, ids, shares);
                backend.Add(x, y, y);
                backend.AddBias(y, gain);
                backend.Scale(y, 0.5f, y);
                backend.Route(logits, new Routing(2, true, 1), null, ids, shares);
                backend.MatMulExperts(x, experts, ids, outputs);
                backend.MatMulNormed(x, new NormOptions(NormKind.Rms, 1e-5f), gain, null, y, weights, results);
                backend.MatMulGated(Activation.Silu, x, x, y, b, z);
                backend.MatMulExpertsGated(Activation.Silu, x, x, y, experts, single, combined);
                backend.Combine(outputs, shares, combined);
                backend.Read(y, values);
                position++;
            }

            for (int i = 0; i < 40; i++)
                All();
            Assert.Equal(0, Allocations.Least(All, everyThread: true));
        }
    }
}
