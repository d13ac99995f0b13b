using Nibble.Core.Compute;
using Nibble.Llm.Layers;

namespace Nibble.Llm.Models;

/// <summary>Which values of queries and keys are normed together.</summary>
internal enum HeadNorm
{
    /// <summary>None.</summary>
    None,

    /// <summary>A head's, with one gain for all heads.</summary>
    Head,

    /// <summary>A head's, without a gain.</summary>
    HeadWithoutGain,

    /// <summary>A head's, with a gain each.</summary>
    EachHead,

    /// <summary>Those of all heads.</summary>
    AllHeads,
}

/// <summary>How the attention of a layer differs from the plainest one: grouped heads, RoPE, 1/sqrt(key size).</summary>
internal sealed record AttentionTraits
{
    /// <summary>Which values RoPE turns together; null for no RoPE.</summary>
    public required RopePairing? Pairing { get; init; }

    /// <summary>How RoPE differs from what the file's keys say.</summary>
    public RopeTraits Rope { get; init; } = RopeTraits.Plain;

    /// <summary>Biases of <c>attn_q</c>, <c>attn_k</c> and <c>attn_v</c>, or of the fused <c>attn_qkv</c>. The file format lets any file have them.</summary>
    public Presence Bias { get; init; } = Presence.Optional;

    /// <summary>Whether scales beside the matrices of queries, keys and values count.</summary>
    public bool IsScaled { get; init; } = true;

    /// <summary>Bias of <c>attn_output</c>.</summary>
    public Presence OutputBias { get; init; }

    /// <summary>The matrix <c>attn_v</c>; without it values are the keys before norm and RoPE.</summary>
    public Presence Values { get; init; } = Presence.Required;

    /// <summary>Whether values are normed head by head, without a gain.</summary>
    public bool IsValueNormed { get; init; }

    /// <summary>The earlier layer's place in the KV cache that this layer reads instead of one of its own; null for its own.</summary>
    public int? SharedKv { get; init; }

    /// <summary>Norms <c>attn_q_norm</c> and <c>attn_k_norm</c>.</summary>
    public HeadNorm QueryKeyNorm { get; init; }

    /// <summary>Whether files may lack those norms.</summary>
    public bool IsQueryKeyNormOptional { get; init; }

    /// <summary>Kind of those norms; null for the model's.</summary>
    public NormKind? QueryKeyNormKind { get; init; }

    /// <summary>Biases of those norms, as long as a gain's row.</summary>
    public Presence QueryKeyNormBias { get; init; }

    /// <summary>Whether they follow RoPE.</summary>
    public bool IsNormedAfterRope { get; init; }

    /// <summary>What scores are multiplied by; null for 1/sqrt(key size).</summary>
    public float? Scale { get; init; }

    /// <summary>Scores become cap x tanh(score / cap); 0 for none.</summary>
    public float SoftCap { get; init; }

    /// <summary>ALiBi's exponent; 0 for none.</summary>
    public float AlibiBias { get; init; }

    /// <summary>Bound of queries, keys and values; 0 for none.</summary>
    public float ClampLimit { get; init; }

    /// <summary>Factor of the queries that grows with the position.</summary>
    public QueryTemperature Temperature { get; init; }

    /// <summary>Sinks <c>attn_sinks</c>.</summary>
    public Presence Sinks { get; init; }

    /// <summary>Positions that a token sees; 0 for all.</summary>
    public int Window { get; init; }

    /// <summary>Whether windows stand still instead of moving with the token.</summary>
    public bool IsChunked { get; init; }

    /// <summary>Whether and how the output is gated, by <c>attn_gate</c> unless the gate is in <c>attn_q</c>.</summary>
    public OutputGate Gate { get; init; }

    /// <summary>What the gate's values become.</summary>
    public Activation GateActivation { get; init; } = Activation.Sigmoid;

    /// <summary>What the layer's output is multiplied by.</summary>
    public float OutputScale { get; init; } = 1;

    /// <summary>Norm <c>attn_sub_norm</c> of the output.</summary>
    public Presence SubNorm { get; init; }

    /// <summary>Values of a head's key; null for the file's <c>attention.key_length</c>.</summary>
    public int? KeySize { get; init; }

    /// <summary>Values of a head's value; null for the file's <c>attention.value_length</c>.</summary>
    public int? ValueSize { get; init; }
}
