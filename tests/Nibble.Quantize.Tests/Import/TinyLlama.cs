using System.Text.Json.Nodes;

namespace Nibble.Quantize.Tests.Import;

/// <summary>A llama of two layers that fits into a test, as transformers writes it.</summary>
internal static class TinyLlama
{
    /// <summary>Tokens.</summary>
    public const int Vocabulary = 300;

    /// <summary>Its folder, not written yet: tensors are float32 of a fixed seed.</summary>
    public static HfFolder Folder()
    {
        HfFolder folder = new()
        {
            Config = JsonNode.Parse(
                """
                {"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_act":"silu","hidden_size":32,"intermediate_size":64,"max_position_embeddings":128,"num_attention_heads":4,
                "num_hidden_layers":2,"num_key_value_heads":2,"rms_norm_eps":1e-5,"rope_theta":10000.0,"tie_word_embeddings":false,"torch_dtype":"float32","vocab_size":300,
                "bos_token_id":null,"eos_token_id":[7,8]}
                """)!.AsObject(),
        };
        Random random = new(20251129);
        void Add(string name, params long[] shape)
        {
            float[] values = new float[shape.Aggregate(1L, (a, b) => a * b)];
            foreach (ref float value in values.AsSpan()) value = random.NextSingle() - 0.5f;
            folder.Set(name, shape, values);
        }

        Add("model.embed_tokens.weight", Vocabulary, 32);
        for (int i = 0; i < 2; i++)
        {
            string layer = $"model.layers.{i}.";
            Add(layer + "input_layernorm.weight", 32);
            Add(layer + "self_attn.q_proj.weight", 32, 32);
            Add(layer + "self_attn.k_proj.weight", 16, 32);
            Add(layer + "self_attn.v_proj.weight", 16, 32);
            Add(layer + "self_attn.o_proj.weight", 32, 32);
            Add(layer + "post_attention_layernorm.weight", 32);
            Add(layer + "mlp.gate_proj.weight", 64, 32);
            Add(layer + "mlp.up_proj.weight", 64, 32);
            Add(layer + "mlp.down_proj.weight", 32, 64);
        }

        Add("model.norm.weight", 32);
        Add("lm_head.weight", Vocabulary, 32);
        folder.WriteByteTokenizer(Vocabulary);
        return folder;
    }
}
