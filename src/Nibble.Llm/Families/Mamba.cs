using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>mamba</c> and <c>mamba2</c>: a state space layer and nothing else in every layer.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/mamba.cpp and mamba2.cpp.</remarks>
internal static class Mamba
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        bool isSecond = reader.Architecture == "mamba2", isNormed = !isSecond && reader.Flag("ssm.dt_b_c_rms", false);
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = isSecond ? StateSpaceBuilder.Mamba2(layer, Presence.Required) : StateSpaceBuilder.Mamba(layer, isNormed, hasGains: false),
            });
        }

        return model.Build();
    }
}
