using System.Collections.Immutable;
using Nibble.Core.Gguf;

namespace Nibble.Testing;

/// <summary>The specimens: at least one for every architecture, more where features exclude one another.</summary>
public static partial class Specimens
{
    // Shorter than the prompt, so that what depends on it happens.
    private const int OriginalContext = 32;

    /// <summary>All of them.</summary>
    public static ImmutableArray<Specimen> All { get; } = [.. Dense, .. Others, .. Experts, .. Recurrent];

    // The whole head turns, where an architecture knows nothing else.
    private static (string Key, GgufValue? Value)[] WholeRope => [("rope.dimension_count", null)];

    // Heads that share the width evenly, where an architecture knows nothing else.
    private static (string Key, GgufValue? Value)[] EvenHeads => [("attention.key_length", 16), ("attention.value_length", 16)];

    // An epsilon that matters beside large states.
    private static (string Key, GgufValue? Value)[] WideNorm => [("attention.layer_norm_rms_epsilon", 1f)];

    private static (string Key, GgufValue? Value)[] Windowed => [("attention.sliding_window", 12)];

    private static (string Key, GgufValue? Value)[] Yarn =>
        [("rope.scaling.type", "yarn"), ("rope.scaling.factor", 4f), ("rope.scaling.original_context_length", OriginalContext)];

    private static (string Key, GgufValue? Value)[] TwoOfEight => [("expert_count", 8), ("expert_used_count", 2)];

    // Networks of experts only, as wide as the file says.
    private static (string Key, GgufValue? Value)[] OwnWidth => [("feed_forward_length", null), ("expert_feed_forward_length", 40)];

    private static GgufValue Layers(params ReadOnlySpan<uint> values) => GgufValue.Array(values);
}
