using System.Runtime.InteropServices;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;

namespace Nibble.Llm.Tests.Sessions;

/// <summary>Models of four layers and random weights whose sequences keep more than keys and values of all positions.</summary>
/// <remarks>Width 16, two heads on one KV head, a vocabulary of 32. Windows are 6 positions long. Seed 7.</remarks>
internal static class TinyRecurrent
{
    public const int Vocabulary = 32;

    private const int Width = 16;
    private const int HeadSize = 8;
    private const int Hidden = 24;
    private const int Window = 6;

    /// <summary>Short convolutions and attention in turn; the same with a window; windows only; delta nets and attention in turn; state spaces only.</summary>
    public static TheoryData<string> Names => ["lfm2", "lfm2-window", "window", "qwen35", "mamba2"];

    /// <summary>Those that keep recurrent states.</summary>
    public static TheoryData<string> Recurrent => ["lfm2", "lfm2-window", "qwen35", "mamba2"];

    /// <summary>Writes a model.</summary>
    public static void Write(string name, string path)
    {
        Builder builder = new(name.Split('-')[0] == "window" ? "lfm2" : name.Split('-')[0]);
        builder.Matrix("token_embd.weight", Width, Vocabulary, 1);
        builder.Gain(name is "qwen35" or "mamba2" ? "output_norm.weight" : "token_embd_norm.weight", Width);
        for (int layer = 0; layer < 4; layer++)
        {
            string prefix = $"blk.{layer}.";
            builder.Gain(prefix + "attn_norm.weight", Width);
            bool isAttention = name == "window" || (name != "mamba2" && layer % 2 == 1);
            if (isAttention) Attention(builder, prefix, name == "qwen35");
            else if (name == "mamba2") Mamba2(builder, prefix);
            else if (name == "qwen35") DeltaNet(builder, prefix);
            else ShortConvolution(builder, prefix);
            if (name == "mamba2") continue;
            builder.Gain(prefix + (name == "qwen35" ? "post_attention_norm.weight" : "ffn_norm.weight"), Width);
            builder.Matrix(prefix + "ffn_gate.weight", Width, Hidden);
            builder.Matrix(prefix + "ffn_up.weight", Width, Hidden);
            builder.Matrix(prefix + "ffn_down.weight", Hidden, Width);
        }

        if (name != "mamba2")
        {
            builder.Set("attention.head_count", 2u);
            builder.Set("attention.key_length", (uint)HeadSize);
            builder.Set("attention.value_length", (uint)HeadSize);
            builder.Set("feed_forward_length", (uint)Hidden);
            builder.Set("attention.head_count_kv", GgufValue.Array((ReadOnlySpan<uint>)(name is "window" or "qwen35" ? [1, 1, 1, 1] : [0, 1, 0, 1])));
        }

        if (name.Contains("window", StringComparison.Ordinal)) builder.Set("attention.sliding_window", (uint)Window);
        if (name is "lfm2" or "lfm2-window" or "window") builder.Set("shortconv.l_cache", 3u);
        if (name is "qwen35" or "mamba2")
        {
            builder.Set("ssm.conv_kernel", 4u);
            builder.Set("ssm.inner_size", 32u);
            builder.Set("ssm.state_size", 8u);
            builder.Set("ssm.time_step_rank", 4u);
            builder.Set("ssm.group_count", 2u);
        }

        if (name == "qwen35")
        {
            builder.Set("full_attention_interval", 2u);
            builder.Set("rope.dimension_count", 4u);
            builder.Set("rope.dimension_sections", GgufValue.Array((ReadOnlySpan<uint>)[1, 1, 0, 0]));
        }

        builder.Writer.Write(path);
    }

    private static void Attention(Builder builder, string prefix, bool isGated)
    {
        builder.Matrix(prefix + "attn_q.weight", Width, isGated ? 2 * Width : Width);
        builder.Matrix(prefix + "attn_k.weight", Width, HeadSize);
        builder.Matrix(prefix + "attn_v.weight", Width, HeadSize);
        builder.Matrix(prefix + "attn_output.weight", Width, Width);
        builder.Gain(prefix + "attn_q_norm.weight", HeadSize);
        builder.Gain(prefix + "attn_k_norm.weight", HeadSize);
    }

    private static void ShortConvolution(Builder builder, string prefix)
    {
        builder.Matrix(prefix + "shortconv.in_proj.weight", Width, 3 * Width);
        builder.Matrix(prefix + "shortconv.conv.weight", 3, Width);
        builder.Matrix(prefix + "shortconv.out_proj.weight", Width, Width);
    }

    private static void DeltaNet(Builder builder, string prefix)
    {
        builder.Matrix(prefix + "attn_qkv.weight", Width, 64);
        builder.Matrix(prefix + "attn_gate.weight", Width, 32);
        builder.Matrix(prefix + "ssm_beta.weight", Width, 4);
        builder.Matrix(prefix + "ssm_alpha.weight", Width, 4);
        builder.Matrix(prefix + "ssm_conv1d.weight", 4, 64);
        builder.Gain(prefix + "ssm_norm.weight", 8);
        builder.Matrix(prefix + "ssm_out.weight", 32, Width);
        builder.Rates(prefix + "ssm_a", 4);
        builder.Vector(prefix + "ssm_dt.bias", 4);
    }

    private static void Mamba2(Builder builder, string prefix)
    {
        builder.Matrix(prefix + "ssm_in.weight", Width, 100);
        builder.Matrix(prefix + "ssm_conv1d.weight", 4, 64);
        builder.Vector(prefix + "ssm_conv1d.bias", 64);
        builder.Vector(prefix + "ssm_dt.bias", 4);
        builder.Rates(prefix + "ssm_a", 1, 4);
        builder.Rates(prefix + "ssm_d", 1, 4);
        builder.Gain(prefix + "ssm_norm.weight", 16, 2);
        builder.Matrix(prefix + "ssm_out.weight", 32, Width);
    }

    private sealed class Builder
    {
        private readonly Random _random = new(7);
        private readonly string _architecture;

        public Builder(string architecture)
        {
            _architecture = architecture;
            Writer.Set("general.architecture", architecture);
            Set("block_count", 4u);
            Set("context_length", 256u);
            Set("embedding_length", (uint)Width);
            Set("attention.layer_norm_rms_epsilon", 1e-5f);
        }

        public GgufWriter Writer { get; } = new();

        public void Set(string key, GgufValue value) => Writer.Set($"{_architecture}.{key}", value);

        public void Matrix(string name, int columns, int rows, float deviation = 0) =>
            Add(name, [columns, rows], () => Normal() * (deviation > 0 ? deviation : 1.6f / MathF.Sqrt(columns)));

        public void Gain(string name, params long[] dimensions) => Add(name, dimensions, () => 1 + (0.2f * Normal()));

        public void Rates(string name, params long[] dimensions) => Add(name, dimensions, () => -0.1f - (0.5f * _random.NextSingle()));

        public void Vector(string name, int columns) => Add(name, [columns], () => 0.3f * Normal());

        private float Normal() => (_random.NextSingle() + _random.NextSingle() + _random.NextSingle() - 1.5f) * 2;

        private void Add(string name, long[] dimensions, Func<float> next)
        {
            float[] values = new float[dimensions.Aggregate(1L, (product, dimension) => product * dimension)];
            foreach (ref float value in values.AsSpan())
                value = next();
            Writer.AddTensor(name, BlockFormats.F32, dimensions, MemoryMarshal.AsBytes(values.AsSpan()).ToArray());
        }
    }
}
