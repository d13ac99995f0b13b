using System.Runtime.InteropServices;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;

namespace Nibble.Llm.Tests.Models;

/// <summary>longrope: the length of the session's context chooses the short or the long frequency factors.</summary>
public class LongRopeTests
{
    private const int Pairs = 64;

    [Theory]
    [InlineData(64, false)]
    [InlineData(65, true)]
    public void The_context_chooses_the_factors(int context, bool isLong)
    {
        float[] shortFactors = [.. Enumerable.Range(0, Pairs).Select(i => 1 + (i / 100f))];
        float[] longFactors = [.. Enumerable.Range(0, Pairs).Select(i => 2 + (i / 10f))];
        float[] expected = LastLogits(64, ("rope_freqs.weight", isLong ? longFactors : shortFactors));
        float[] other = LastLogits(64, ("rope_freqs.weight", isLong ? shortFactors : longFactors));
        float[] ours = LastLogits(context, ("rope_factors_short.weight", shortFactors), ("rope_factors_long.weight", longFactors));
        Assert.Equal(expected, ours);
        Assert.InRange(Nmse.Of(ours, other), 1e-6, 10);
    }

    private static float[] LastLogits(int context, params (string Name, float[] Values)[] factors)
    {
        string path = Path.Combine(Path.GetTempPath(), $"nibble-longrope-{Guid.NewGuid():N}.gguf");
        try
        {
            using (GgufFile original = GgufFile.Open(TestModels.Tiny("llama-dense")))
            {
                GgufWriter writer = new();
                foreach (GgufEntry entry in original.Metadata)
                    writer.Set(entry.Key, entry.Value);
                writer.Set("llama.rope.scaling.type", "longrope").Set("llama.rope.scaling.original_context_length", 64u);
                foreach (GgufTensor tensor in original.Tensors)
                    if (tensor.Name != "rope_freqs.weight") writer.AddTensor(tensor);
                foreach ((string name, float[] values) in factors)
                    writer.AddTensor(name, BlockFormats.F32, [Pairs], MemoryMarshal.AsBytes(values.AsSpan()).ToArray());
                writer.Write(path);
            }

            using Backend backend = TestModels.Open("cpu-exact");
            using LanguageModel model = TestModels.Load(path, backend);
            using Session session = TestModels.ExactSession(model, context);
            session.Evaluate(TestModels.Tokens.AsSpan(0, 40), TestContext.Current.CancellationToken);
            return session.Logits.ToArray();
        }
        finally
        {
            File.Delete(path);
        }
    }
}
