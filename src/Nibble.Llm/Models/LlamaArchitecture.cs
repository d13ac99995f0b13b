using Nibble.Core.Compute;
using Nibble.Llm.Layers;

namespace Nibble.Llm.Models;

/// <summary>
/// <c>llama</c>: Llama 1 to 3.3, Mistral 7B, SmolLM and SmolLM2, TinyLlama, Mixtral. Pre-norm, RMS norm, RoPE over neighbours, gated SiLU network or softmax-routed
/// experts with normalized weights; optional biases, scales, frequency factors and tied embeddings.
/// </summary>
/// <remarks>Source of keys and tensors: llama.cpp v0.5.0, src/models/llama.cpp; it does not read <c>attention.scale</c> and <c>expert_weights_scale</c> for this architecture.</remarks>
internal static class LlamaArchitecture
{
    /// <summary>Builds the forward pass from a file.</summary>
    public static Decoder Build(ModelReader reader)
    {
        int layers = reader.LayerCount();
        int width = reader.Width("embedding_length");
        int vocabulary = reader.VocabularySize();
        int experts = reader.Integer("expert_count", 0, 1024, 0);
        int used = experts == 0 ? 0 : reader.Integer("expert_used_count", 1, experts);
        int[] heads = reader.PerLayer("attention.head_count", layers, 1, 1024);
        int[] kvHeads = reader.PerLayer("attention.head_count_kv", layers, 1, 1024, heads);
        int[] hidden = reader.PerLayer("feed_forward_length", layers, 1, 1 << 20);
        float epsilon = reader.NormEpsilon("attention.layer_norm_rms_epsilon");
        Routing routing = new(used, Normalize: true, Scale: 1);

        List<DecoderLayer> built = [];
        Rotations rotations = new(reader, RopePairing.Adjacent);
        Weight embedding = reader.Table("token_embd.weight", width, vocabulary);
        for (int i = 0; i < layers; i++)
        {
            string prefix = $"blk.{i}.";
            if (heads[i] % kvHeads[i] != 0)
                throw reader.Error("attention.head_count_kv", $"layer {i} has {heads[i]} heads on {kvHeads[i]} KV heads; the first must be a multiple of the second.");
            built.Add(new DecoderLayer(
                reader.Vector(prefix + "attn_norm.weight", width),
                Attention(reader, rotations, i, prefix, width, heads[i], kvHeads[i]),
                reader.Vector(prefix + "ffn_norm.weight", width),
                experts == 0 ? Dense(reader, prefix, width, hidden[i]) : Experts(reader, prefix, width, hidden[i], experts, routing)));
        }

        return new Decoder
        {
            Backend = reader.Backend,
            Embedding = embedding,
            Layers = [.. built],
            OutputNorm = reader.Vector("output_norm.weight", width),
            Output = reader.Output("output.weight", "token_embd.weight", embedding),
            NormEpsilon = epsilon,
            Shape = new ScratchShape(
                width,
                built.Max(layer => layer.Attention.QueryKeyValueWidth),
                built.Max(layer => layer.Attention.AttendedWidth),
                experts == 0 ? hidden.Max() : 0,
                experts == 0 ? 0 : hidden.Max(),
                experts,
                used,
                vocabulary),
        };
    }

    private static AttentionLayer Attention(ModelReader reader, Rotations rotations, int layer, string prefix, int width, int heads, int kvHeads)
    {
        int keySize = reader.Integer("attention.key_length", 1, 4096, width / heads);
        int valueSize = reader.Integer("attention.value_length", 1, 4096, width / heads);
        int queryRows = heads * keySize, keyRows = kvHeads * keySize, valueRows = kvHeads * valueSize;
        int allRows = queryRows + keyRows + valueRows;
        bool isFused = reader.Has(prefix + "attn_qkv.weight");
        // A fused matrix may come with a fused bias or, where it has none, with separate ones (llama.cpp v0.5.0, create_tensor_qkv).
        Weight? bias = isFused ? reader.OptionalVector(prefix + "attn_qkv.bias", allRows) : null;
        Weight? Bias(string name, int rows) => bias is null ? reader.OptionalVector($"{prefix}{name}.bias", rows) : null;
        return new AttentionLayer
        {
            Layer = layer,
            Heads = heads,
            Kv = new KvLayer(kvHeads, keySize, valueSize),
            Projections = isFused
                ? [reader.Matrix(prefix + "attn_qkv.weight", width, allRows)]
                :
                [
                    reader.Matrix(prefix + "attn_q.weight", width, queryRows),
                    reader.Matrix(prefix + "attn_k.weight", width, keyRows),
                    reader.Matrix(prefix + "attn_v.weight", width, valueRows),
                ],
            Bias = bias,
            QueryBias = Bias("attn_q", queryRows),
            KeyBias = Bias("attn_k", keyRows),
            ValueBias = Bias("attn_v", valueRows),
            Output = new Linear(reader.Matrix(prefix + "attn_output.weight", heads * valueSize, width), reader.OptionalVector(prefix + "attn_output.bias", width)),
            Rope = rotations.For(keySize),
            Scale = 1 / MathF.Sqrt(keySize),
        };
    }

    private static GatedFeedForward Dense(ModelReader reader, string prefix, int width, int hidden)
    {
        // In the dense network the scale beside a weight multiplies the bias too (llama.cpp v0.5.0, build_ffn).
        Linear Part(string name, int columns, int rows)
        {
            string weight = $"{prefix}{name}.weight";
            return new Linear(reader.Matrix(weight, columns, rows), reader.OptionalVector($"{prefix}{name}.bias", rows, reader.Scales(weight, 1)));
        }

        return new GatedFeedForward
        {
            Activation = Activation.Silu,
            Gate = Part("ffn_gate", width, hidden),
            Up = Part("ffn_up", width, hidden),
            Down = Part("ffn_down", hidden, width),
        };
    }

    private static ExpertFeedForward Experts(ModelReader reader, string prefix, int width, int hidden, int experts, Routing routing) => new()
    {
        Activation = Activation.Silu,
        Router = reader.Matrix(prefix + "ffn_gate_inp.weight", width, experts),
        Routing = routing,
        Gate = reader.Experts(prefix + "ffn_gate_exps.weight", width, hidden, experts),
        Up = reader.Experts(prefix + "ffn_up_exps.weight", width, hidden, experts),
        Down = reader.Experts(prefix + "ffn_down_exps.weight", hidden, width, experts),
    };
}
