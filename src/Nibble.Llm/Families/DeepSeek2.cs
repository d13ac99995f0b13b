using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary><c>deepseek2</c> and <c>mistral4</c>: multi-head latent attention, YaRN that also scales the scores, experts after some dense layers, with shared ones and a bias of the choice.</summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/deepseek2.cpp, and src/llama-context.cpp for the magnitude of YaRN.</remarks>
internal static class DeepSeek2
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        LatentAttentionTraits attention = Attention(model);
        int dense = reader.Integer("leading_dense_block_count", 0, model.LayerCount, 0), shared = reader.Integer("expert_shared_count", 1, 1024);
        bool isGlmLite = model.LayerCount is 47 or 48 && model.Vocabulary == 154880;
        GatingFunction gating = isGlmLite ? GatingFunction.Sigmoid : GatingFunction.Softmax;
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = attention.Build(layer),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Index < dense
                    ? layer.Gated()
                    : layer.Experts(layer.KeyedExperts(gating) with { Shared = layer.Shared(shared * layer.NamedExpertHidden()) }),
            });
        }

        return model.Build();
    }

    private static LatentAttentionTraits Attention(DecoderBuilder model)
    {
        ModelReader reader = model.Reader;
        // Files tell the lite models, which have one matrix of queries, by their sizes only.
        bool isLite = model.LayerCount is 26 or 27 || (model.LayerCount == 48 && model.Vocabulary == 128256);
        bool isAbsorbed = reader.Integer("attention.key_length_mla", 0, 4096, 0) > 0;
        if (isAbsorbed != reader.Integer("attention.value_length_mla", 0, 4096, 0) > 0)
            throw reader.Error("attention.value_length_mla", "attention.key_length_mla and attention.value_length_mla must both be there, or neither.");
        int headSize = isAbsorbed ? reader.Integer("attention.key_length_mla", 1, 4096) : model.HeadSize("attention.key_length");
        float temperature = reader.Number("attention.temperature_scale", 0);
        // The file's multiplier holds YaRN's 0.1 already.
        RopeTraits rope = RopeTraits.WithoutFactors with { Magnitude = RopeTraits.YarnMagnitude(reader, logMultiplierScale: 10, isBothScaled: reader.Architecture == "deepseek2") };
        float growth = 0.1f * MathF.Log(Rotations.Factor(reader)), multiplier = 10 * reader.Number("rope.scaling.yarn_log_multiplier", 0);
        float magnitude = reader.Number("rope.scaling.attn_factor", 1) * rope.Magnitude * (1 + growth) * (1 + (multiplier * growth));
        return new LatentAttentionTraits
        {
            QueryRank = isLite ? 0 : reader.Integer("attention.q_lora_rank", 0, 1 << 20),
            Rank = reader.Width("attention.kv_lora_rank"),
            HeadSize = headSize,
            TurnedSize = reader.Integer("rope.dimension_count", 2, headSize, headSize),
            ValueSize = isAbsorbed ? reader.Integer("attention.value_length_mla", 1, 4096) : model.HeadSize("attention.value_length"),
            IsAbsorbed = isAbsorbed,
            Pairing = RopePairing.Adjacent,
            Rope = rope,
            Scale = magnitude * magnitude / MathF.Sqrt(headSize),
            Temperature = temperature == 0 ? default : new QueryTemperature(temperature, reader.Integer("attention.temperature_length", 1, int.MaxValue), 0),
        };
    }
}
