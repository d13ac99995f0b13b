using System.Collections.Immutable;
using System.Globalization;

namespace Nibble.Core.Compute;

/// <summary>Which parts of a model a device takes; the host has the others.</summary>
/// <param name="FirstLayer">The first layer that the device has.</param>
/// <param name="EndLayer">The layer after the last one that it has.</param>
/// <param name="TakesOutput">Whether it has the output matrix, and the norm before it.</param>
/// <param name="KvOnDevice">For each layer of a KV cache, in its order, whether the device keeps it. Those past the end are the host's.</param>
public sealed record SplitPlacement(int FirstLayer, int EndLayer, bool TakesOutput, ImmutableArray<bool> KvOnDevice)
{
    /// <summary>The table of embeddings, which is the output matrix of models that have no other.</summary>
    internal const string Embedding = "token_embd.weight";

    /// <summary>The layer that a tensor belongs to by its name (<c>blk.3.attn_q.weight</c>), or -1.</summary>
    /// <param name="name">The name.</param>
    public static int LayerOf(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        if (!name.StartsWith("blk.", StringComparison.Ordinal)) return -1;
        int end = name.IndexOf('.', 4);
        return end > 4 && int.TryParse(name.AsSpan(4, end - 4), NumberStyles.None, CultureInfo.InvariantCulture, out int layer) ? layer : -1;
    }

    /// <summary>Whether a tensor of a name is part of the output: its matrix, its bias, the norm before it.</summary>
    /// <param name="name">The name.</param>
    public static bool IsOutput(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        return name.StartsWith("output", StringComparison.Ordinal);
    }

    /// <summary>Whether the device takes a tensor. (The table of embeddings it takes in only where products need it.)</summary>
    /// <param name="name">The tensor's name.</param>
    public bool Takes(string name) => LayerOf(name) is var layer && layer >= 0 ? layer >= FirstLayer && layer < EndLayer : IsOutput(name) && TakesOutput;
}
