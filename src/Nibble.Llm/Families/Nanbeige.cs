using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>nanbeige</c>: as llama; the layers may run several times in a row, each time with keys and values of their own, and the state normed in between.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/nanbeige.cpp.</remarks>
internal static class Nanbeige
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader) { Scales = NetworkScales.Dense };
        AttentionTraits attention = new() { Pairing = RopePairing.Adjacent };
        int loops = reader.Integer("num_loops", 1, Math.Max(1, 512 / model.LayerCount), 1);
        bool isNormedBetween = !reader.Flag("skip_loop_final_norm", false);
        model.OutputNorm = model.Norm(model.OutputNormName);
        for (int loop = 1; loop <= loops; loop++)
        {
            foreach (LayerBuilder layer in model.Layers)
            {
                model.Add(new DecoderLayer
                {
                    MixerNorm = layer.Norm("attn_norm"),
                    Mixer = layer.Attention(attention),
                    FeedForwardNorm = layer.Norm("ffn_norm"),
                    FeedForward = layer.Gated(),
                    OutputNorm = isNormedBetween && loop < loops && layer.Index == model.LayerCount - 1 ? model.OutputNorm : null,
                });
            }
        }

        return model.Build();
    }
}
