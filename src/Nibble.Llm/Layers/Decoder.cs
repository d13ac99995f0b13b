using System.Collections.Immutable;
using Nibble.Core.Compute;

namespace Nibble.Llm.Layers;

/// <summary>One layer: attention and feed-forward network, each on the normed state, each added to it.</summary>
/// <param name="AttentionNorm">[width] gain before attention.</param>
/// <param name="Attention">Attention.</param>
/// <param name="FeedForwardNorm">[width] gain before the network.</param>
/// <param name="FeedForward">The network.</param>
internal sealed record DecoderLayer(Weight AttentionNorm, AttentionLayer Attention, Weight FeedForwardNorm, FeedForward FeedForward);

/// <summary>The forward pass, the only one: from token ids to logits, through whatever backend.</summary>
internal sealed class Decoder
{
    /// <summary>What computes.</summary>
    public required Backend Backend { get; init; }

    /// <summary>[vocabulary x width].</summary>
    public required Weight Embedding { get; init; }

    /// <summary>The layers.</summary>
    public required ImmutableArray<DecoderLayer> Layers { get; init; }

    /// <summary>[width] gain before the output.</summary>
    public required Weight OutputNorm { get; init; }

    /// <summary>[vocabulary x width]; the embedding itself where the two are tied.</summary>
    public required Weight Output { get; init; }

    /// <summary>Added to the mean square in norms.</summary>
    public required float NormEpsilon { get; init; }

    /// <summary>Widths for a <see cref="Scratch"/>.</summary>
    public required ScratchShape Shape { get; init; }

    /// <summary>Shape of each layer in a KV cache.</summary>
    public ImmutableArray<KvLayer> KvLayers => [.. Layers.Select(layer => layer.Attention.Kv)];

    /// <summary>Runs a batch: afterwards the cache holds its keys and values, and <see cref="Scratch.State"/> the state of each of its tokens.</summary>
    /// <param name="ids">[tokens] ids, at most <see cref="Scratch.Tokens"/>.</param>
    /// <param name="cache">Keys and values of the positions before.</param>
    /// <param name="firstPosition">Position of the first token.</param>
    /// <param name="scratch">Memory.</param>
    /// <param name="cancellation">Looked at between layers.</param>
    /// <exception cref="OperationCanceledException">Cancelled; the cache's positions from the first on are undefined.</exception>
    public void Run(ReadOnlySpan<int> ids, KvCache cache, int firstPosition, Scratch scratch, CancellationToken cancellation)
    {
        Tensor state = scratch.State.SliceRows(0, ids.Length);
        Tensor normed = scratch.Normed.SliceRows(0, ids.Length);
        Tensor delta = scratch.Delta.SliceRows(0, ids.Length);
        Backend.GetRows(Embedding, ids, state);
        foreach (DecoderLayer layer in Layers)
        {
            cancellation.ThrowIfCancellationRequested();
            Backend.RmsNorm(state, layer.AttentionNorm, NormEpsilon, normed);
            layer.Attention.Run(Backend, scratch, cache, firstPosition, normed, delta);
            Backend.Add(state, delta, state);
            Backend.RmsNorm(state, layer.FeedForwardNorm, NormEpsilon, normed);
            layer.FeedForward.Run(Backend, scratch, normed, delta);
            Backend.Add(state, delta, state);
        }
    }

    /// <summary>The logits of some tokens of the batch that <see cref="Run"/> ran last.</summary>
    /// <param name="scratch">Memory.</param>
    /// <param name="first">First token in the batch.</param>
    /// <param name="logits">[tokens x vocabulary], overwritten; at most <see cref="Scratch.LogitRows"/> tokens.</param>
    public void Logits(Scratch scratch, int first, Span<float> logits)
    {
        int count = logits.Length / Output.Rows;
        Tensor normed = scratch.LogitState.SliceRows(0, count);
        Tensor rows = scratch.Logits.SliceRows(0, count);
        Backend.RmsNorm(scratch.State.SliceRows(first, count), OutputNorm, NormEpsilon, normed);
        Backend.MatMul(normed, Output, rows);
        Backend.Read(rows, logits);
    }
}
