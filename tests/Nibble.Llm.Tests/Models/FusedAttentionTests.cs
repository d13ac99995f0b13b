using System.Runtime.InteropServices;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;

namespace Nibble.Llm.Tests.Models;

/// <summary>Queries, keys and values from one matrix give the logits that three give, wherever the biases are.</summary>
public class FusedAttentionTests
{
    private static readonly string[] Parts = ["attn_q", "attn_k", "attn_v"];

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_fused_matrix_gives_the_logits_of_three(bool isBiasFused)
    {
        // Without the scales beside the three matrices, for which a fused one has no place.
        float[] expected = Logits(isFused: false, isBiasFused: false, hasBias: true);
        Assert.Equal(expected, Logits(isFused: true, isBiasFused, hasBias: true));
        Assert.InRange(Nmse.Of(Logits(isFused: true, isBiasFused, hasBias: false), expected), 1e-6, 10);
    }

    private static float[] Logits(bool isFused, bool isBiasFused, bool hasBias)
    {
        string path = Path.Combine(Path.GetTempPath(), $"nibble-fused-{Guid.NewGuid():N}.gguf");
        try
        {
            using (GgufFile original = GgufFile.Open(TestModels.Tiny("llama-dense")))
            {
                GgufWriter writer = new();
                foreach (GgufEntry entry in original.Metadata)
                    writer.Set(entry.Key, entry.Value);
                bool IsPart(GgufTensor tensor, string end) => Parts.Any(part => tensor.Name.EndsWith($".{part}.{end}", StringComparison.Ordinal));
                foreach (GgufTensor tensor in original.Tensors)
                {
                    bool isDropped = IsPart(tensor, "scale") || (isFused && IsPart(tensor, "weight")) || (IsPart(tensor, "bias") && (isBiasFused || !hasBias));
                    if (!isDropped) writer.AddTensor(tensor);
                }

                for (int layer = 0; layer < 2; layer++)
                {
                    float[] Join(string end) => [.. Parts.SelectMany(part => Values(original.Find($"blk.{layer}.{part}.{end}")!))];
                    float[] weights = Join("weight"), biases = Join("bias");
                    if (isFused) writer.AddTensor($"blk.{layer}.attn_qkv.weight", BlockFormats.F32, [256, weights.Length / 256], MemoryMarshal.AsBytes(weights.AsSpan()).ToArray());
                    if (isBiasFused && hasBias) writer.AddTensor($"blk.{layer}.attn_qkv.bias", BlockFormats.F32, [biases.Length], MemoryMarshal.AsBytes(biases.AsSpan()).ToArray());
                }

                writer.Write(path);
            }

            using Backend backend = TestModels.Open("cpu-exact");
            using LanguageModel model = TestModels.Load(path, backend);
            using Session session = TestModels.ExactSession(model);
            return TestModels.Logits(session, TestModels.Tokens.AsSpan(0, 24));
        }
        finally
        {
            File.Delete(path);
        }
    }

    private static float[] Values(GgufTensor tensor)
    {
        List<float> values = [];
        for (long row = 0; row < tensor.RowCount; row++)
            values.AddRange(MemoryMarshal.Cast<byte, float>(tensor.Row(row)));
        return [.. values];
    }
}
