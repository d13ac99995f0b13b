using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>gptneox</c>: GPT-NeoX and Pythia. Layer norms and matrices with biases, partial RoPE over halves, a GELU network without a gate, beside attention where the file says so.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/gptneox.cpp.</remarks>
internal static class GptNeoX
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader, NormKind.Layer, Presence.Required) { Output = Presence.Required };
        AttentionTraits attention = new() { Pairing = RopePairing.Halves, Rope = RopeTraits.WithoutFactors, OutputBias = Presence.Required };
        bool isParallel = reader.Flag("use_parallel_residual");
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = layer.Attention(attention),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Plain(Activation.Gelu, Presence.Required),
                IsParallel = isParallel,
            });
        }

        return model.Build();
    }
}
