using Nibble.Core.Compute;
using Nibble.Llm.Layers;
using Nibble.Llm.Models;

namespace Nibble.Llm.Families;

/// <summary>
/// <c>deepseek2</c>: multi-head latent attention; after some dense layers experts by the file's gating function, in groups, with a bias of the choice and shared ones. Lite models have no short query.
/// </summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/deepseek2.cpp; how YaRN scales RoPE and scores: the same, and llama_context.</remarks>
internal static class DeepSeek2
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        DecoderBuilder model = new(reader);
        int dense = reader.Integer("leading_dense_block_count", 0, model.LayerCount, 0);
        int shared = reader.Integer("expert_shared_count", 1, 1024);
        bool isGlmLite = model is { LayerCount: 47 or 48, Vocabulary: 154880 };
        foreach (LayerBuilder layer in model.Layers)
        {
            model.Add(new DecoderLayer
            {
                MixerNorm = layer.Norm("attn_norm"),
                Mixer = Attention(layer),
                FeedForwardNorm = layer.Norm("ffn_norm"),
                FeedForward = layer.Index < dense
                    ? layer.Gated()
                    : layer.Experts(layer.KeyedExperts(isGlmLite ? GatingFunction.Sigmoid : GatingFunction.Softmax) with { Shared = layer.SharedExperts(shared) }),
            });
        }

        return model.Build();
    }

    /// <summary>Latent attention as the keys of such a file describe it.</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="hasRope">Whether RoPE turns anything; without it, neither does it scale scores.</param>
    public static LatentAttentionLayer Attention(LayerBuilder layer, bool hasRope = true)
    {
        ModelReader reader = layer.Reader;
        DecoderBuilder model = layer.Model;
        bool isAbsorbed = reader.HasKey("attention.key_length_mla");
        string mla = isAbsorbed ? "_mla" : string.Empty;
        int rank = reader.Integer("attention.kv_lora_rank", 1, 1 << 16), rope = reader.Integer("rope.dimension_count", 2, 4096);
        int keySize = reader.Integer("attention.key_length" + mla, rope + 1, 4096), valueSize = reader.Integer("attention.value_length" + mla, 1, 4096);
        int heads = layer.Heads, plain = keySize - rope;
        if (heads == 0) throw reader.Error("attention.head_count", $"{reader.Architecture}.attention.head_count is 0 for layer {layer.Index}, which has attention; it must be 1 or more.");
        int queryRank = reader.Has(layer.Name("attn_q.weight")) ? 0 : reader.Integer("attention.q_lora_rank", 1, 1 << 16);
        KvLayer kv = isAbsorbed ? new KvLayer(1, rank + rope, rank) : new KvLayer(heads, keySize, valueSize);
        RopeTraits traits = RopeTraits.Yarn(reader, logMultiplierScale: 10, isBothScaled: true) with { Dimensions = rope, HasFrequencyFactors = false, BetaFast = 32, BetaSlow = 1 };
        float temperature = hasRope ? reader.Number("attention.temperature_scale", 0) : 0;
        return new LatentAttentionLayer
        {
            KvIndex = model.AddKv(kv),
            Kv = kv,
            PlainSize = plain,
            RopeSize = rope,
            ValueSize = valueSize,
            Rank = rank,
            QueryDown = queryRank == 0 ? null : reader.Matrix(layer.Name("attn_q_a.weight"), model.Width, queryRank, isScaled: null),
            QueryNorm = queryRank == 0 ? null : model.Norm(layer.Name("attn_q_a_norm"), queryRank, 0),
            Query = queryRank == 0
                ? reader.Matrix(layer.Name("attn_q.weight"), model.Width, heads * keySize, isScaled: false)
                : reader.Matrix(layer.Name("attn_q_b.weight"), queryRank, heads * keySize, isScaled: null),
            KeyValueDown = reader.Matrix(layer.Name("attn_kv_a_mqa.weight"), model.Width, rank + rope, isScaled: null),
            KeyValueNorm = model.Norm(layer.Name("attn_kv_a_norm"), rank, 0),
            KeyUp = isAbsorbed ? reader.Experts(layer.Name("attn_k_b.weight"), plain, rank, heads) : null,
            ValueUp = isAbsorbed ? reader.Experts(layer.Name("attn_v_b.weight"), rank, valueSize, heads) : null,
            KeyValueUp = isAbsorbed ? null : reader.Matrix(layer.Name("attn_kv_b.weight"), rank, heads * (plain + valueSize), isScaled: null),
            QueryRope = !hasRope ? null : model.Rotations.For(keySize, RopePairing.Adjacent, traits with { Offset = plain }),
            KeyRope = !hasRope ? null : model.Rotations.For(rope, RopePairing.Adjacent, traits),
            Options = new AttentionOptions(heads, hasRope ? ScoreScale(reader, keySize) : 1 / MathF.Sqrt(keySize))
            {
                Temperature = temperature == 0 ? default : new QueryTemperature(temperature, reader.Integer("attention.temperature_length", 1, int.MaxValue), 0),
            },
            Output = layer.Linear("attn_output", heads * valueSize, model.Width, Presence.Absent),
        };
    }

    // With YaRN the magnitude that RoPE does not get goes into the scores, squared.
    private static float ScoreScale(ModelReader reader, int keySize)
    {
        float logFactor = MathF.Log(MathF.Max(1, Rotations.Factor(reader))), multiplier = 10 * reader.Number("rope.scaling.yarn_log_multiplier", 0);
        float magnitude = Rotations.ScalingType(reader) == "yarn" && multiplier != 0 ? 1 : 1 + (0.1f * logFactor);
        magnitude *= reader.Number("rope.scaling.attn_factor", 1) * (1 + (0.1f * multiplier * logFactor));
        return magnitude * magnitude / MathF.Sqrt(keySize);
    }
}
