using System.Collections.Immutable;
using Nibble.Core.Compute;
using Nibble.Llm.Sessions;

namespace Nibble.Llm.Layers;

/// <summary>One layer: a mixer (attention or a recurrence) and a feed-forward network, each added to the state, one after the other or side by side.</summary>
internal sealed record DecoderLayer
{
    /// <summary>Norm of what the mixer reads, or null.</summary>
    public Norm? MixerNorm { get; init; }

    /// <summary>The mixer, or null.</summary>
    public Mixer? Mixer { get; init; }

    /// <summary>Norm of what the mixer gives, before it is added; or null.</summary>
    public Norm? MixerPostNorm { get; init; }

    /// <summary>Norm of what the network reads, or null: then it reads the state, or beside attention what attention reads.</summary>
    public Norm? FeedForwardNorm { get; init; }

    /// <summary>The network, or null.</summary>
    public FeedForward? FeedForward { get; init; }

    /// <summary>Norm of what the network gives, before it is added; or null.</summary>
    public Norm? FeedForwardPostNorm { get; init; }

    /// <summary>Whether the network reads the state from before the mixer.</summary>
    public bool IsParallel { get; init; }

    /// <summary>What both outputs are multiplied by before they are added.</summary>
    public float ResidualScale { get; init; } = 1;

    /// <summary>How the layer takes in an input of its own, or null.</summary>
    public LayerInput? Input { get; init; }

    /// <summary>Norm that the state is replaced by at last, or null.</summary>
    public Norm? OutputNorm { get; init; }

    /// <summary>What the state is multiplied by at last.</summary>
    public float OutputScale { get; init; } = 1;

    /// <summary>Values a token that it takes of <see cref="Scratch"/>.</summary>
    public int WorkColumns => (Mixer?.WorkColumns ?? 0) + (FeedForward?.WorkColumns ?? 0) + (Input?.WorkColumns ?? 0);

    /// <summary>Ids a token that it takes of <see cref="Scratch"/>.</summary>
    public int IdColumns => (Mixer?.IdColumns ?? 0) + (FeedForward?.IdColumns ?? 0);

    /// <summary>Changes the state of a batch.</summary>
    /// <param name="step">Where it stands.</param>
    /// <param name="state">[tokens x width].</param>
    public void Run(in Step step, Tensor state)
    {
        Backend backend = step.Backend;
        Tensor normed = step.Scratch.Normed.SliceRows(0, state.Rows);
        Tensor delta = step.Scratch.Delta.SliceRows(0, state.Rows);
        step.Scratch.BeginLayer();
        FeedForward?.Prepare(step, state);
        if (IsParallel)
        {
            Tensor parallel = step.Scratch.Parallel.SliceRows(0, state.Rows);
            NormedInput input = new(state, MixerNorm, normed);
            if (FeedForwardNorm is null) input = new NormedInput(input.Value(backend));
            Mixer!.Run(step, input, delta);
            FeedForward!.Run(step, FeedForwardNorm is null ? input : new NormedInput(state, FeedForwardNorm, normed), parallel);
            Finish(backend, MixerPostNorm, delta);
            Finish(backend, FeedForwardPostNorm, parallel);
            backend.Add(delta, parallel, delta);
            backend.Add(state, delta, state);
        }
        else
        {
            if (Mixer is not null)
            {
                Mixer.Run(step, new NormedInput(state, MixerNorm, normed), delta);
                Add(backend, MixerPostNorm, delta, state);
            }

            if (FeedForward is not null)
            {
                FeedForward.Run(step, new NormedInput(state, FeedForwardNorm, normed), delta);
                Add(backend, FeedForwardPostNorm, delta, state);
            }
        }

        Input?.Run(step, state, delta);
        if (OutputScale != 1) backend.Scale(state, OutputScale, state);
        OutputNorm?.Apply(backend, state, state);
    }

    private void Add(Backend backend, Norm? norm, Tensor delta, Tensor state)
    {
        Finish(backend, norm, delta);
        backend.Add(state, delta, state);
    }

    private void Finish(Backend backend, Norm? norm, Tensor delta)
    {
        norm?.Apply(backend, delta, delta);
        if (ResidualScale != 1) backend.Scale(delta, ResidualScale, delta);
    }
}

/// <summary>The forward pass, the only one: from token ids to logits, through whatever backend.</summary>
internal sealed class Decoder
{
    /// <summary>What computes.</summary>
    public required Backend Backend { get; init; }

    /// <summary>[vocabulary x width].</summary>
    public required Weight Embedding { get; init; }

    /// <summary>What embeddings are multiplied by.</summary>
    public float EmbeddingScale { get; init; } = 1;

    /// <summary>[positions x width] added to the embeddings, or null.</summary>
    public Weight? PositionEmbedding { get; init; }

    /// <summary>Norm of the embeddings, or null.</summary>
    public Norm? EmbeddingNorm { get; init; }

    /// <summary>Embeddings that each layer has of its own, or null.</summary>
    public LayerInputs? LayerInputs { get; init; }

    /// <summary>The layers.</summary>
    public required ImmutableArray<DecoderLayer> Layers { get; init; }

    /// <summary>Norm before the output, or null.</summary>
    public Norm? OutputNorm { get; init; }

    /// <summary>[vocabulary x width]; the embedding itself where the two are tied.</summary>
    public required Linear Output { get; init; }

    /// <summary>What logits are multiplied by.</summary>
    public float LogitScale { get; init; } = 1;

    /// <summary>Logits become cap x tanh(logit / cap); 0 for none.</summary>
    public float LogitSoftCap { get; init; }

    /// <summary>What a sequence keeps.</summary>
    public required SequenceShape Sequence { get; init; }

    /// <summary>Bytes of the matrices, as they are in the file, that a token alone is multiplied with.</summary>
    public long TokenWeightBytes { get; init; }

    /// <summary>Widths for a <see cref="Scratch"/>.</summary>
    public ScratchShape Shape => new(
        Embedding.Columns,
        Math.Max(Layers.Max(layer => layer.WorkColumns), LayerInputs?.Table.Columns ?? 0),
        Layers.Max(layer => layer.IdColumns),
        LayerInputs?.Table.Columns ?? 0,
        Output.Weight.Rows);

    /// <summary>Runs a batch: afterwards the sequence holds what later tokens need, and <see cref="Scratch.State"/> the state of each of its tokens.</summary>
    /// <param name="ids">[tokens] ids, at most <see cref="Scratch.Tokens"/>.</param>
    /// <param name="sequence">Keys, values and states of the positions before.</param>
    /// <param name="firstPosition">Position of the first token.</param>
    /// <param name="scratch">Memory.</param>
    /// <param name="cancellation">Looked at between layers.</param>
    /// <exception cref="OperationCanceledException">Cancelled; the sequence's positions from the first on, and its states, are undefined.</exception>
    public void Run(ReadOnlySpan<int> ids, SequenceState sequence, int firstPosition, Scratch scratch, CancellationToken cancellation)
    {
        Embed(ids, firstPosition, scratch);
        RunLayers(0, Layers.Length, ids.Length, sequence, firstPosition, scratch, cancellation);
    }

    /// <summary>The first step of <see cref="Run"/>: <see cref="Scratch.State"/> becomes what the first layer reads, and <see cref="Scratch.LayerInputs"/> what layers read beside it.</summary>
    /// <param name="ids">[tokens] ids, at most <see cref="Scratch.Tokens"/>.</param>
    /// <param name="firstPosition">Position of the first token.</param>
    /// <param name="scratch">Memory.</param>
    public void Embed(ReadOnlySpan<int> ids, int firstPosition, Scratch scratch)
    {
        Tensor state = scratch.State.SliceRows(0, ids.Length);
        Backend.GetRows(Embedding, ids, state);
        if (EmbeddingScale != 1) Backend.Scale(state, EmbeddingScale, state);
        if (PositionEmbedding is not null)
        {
            Tensor positions = scratch.Delta.SliceRows(0, ids.Length);
            Backend.GetRows(PositionEmbedding, scratch.Positions(firstPosition, ids.Length), positions);
            Backend.Add(state, positions, state);
        }

        EmbeddingNorm?.Apply(Backend, state, state);
        if (LayerInputs is not null)
        {
            scratch.BeginLayer();
            Tensor inputs = scratch.LayerInputs.SliceRows(0, ids.Length);
            LayerInputs.Run(Backend, ids, state, scratch.Take(ids.Length, inputs.Columns), inputs);
        }
    }

    /// <summary>The second step of <see cref="Run"/>, for some of the layers: they change <see cref="Scratch.State"/>.</summary>
    /// <param name="first">The first layer.</param>
    /// <param name="end">The layer after the last.</param>
    /// <param name="tokens">Tokens of the batch.</param>
    /// <param name="sequence">Keys, values and states of the positions before.</param>
    /// <param name="firstPosition">Position of the first token.</param>
    /// <param name="scratch">Memory.</param>
    /// <param name="cancellation">Looked at between layers.</param>
    public void RunLayers(int first, int end, int tokens, SequenceState sequence, int firstPosition, Scratch scratch, CancellationToken cancellation)
    {
        Step step = new(Backend, scratch, sequence, firstPosition);
        Tensor state = scratch.State.SliceRows(0, tokens);
        for (int layer = first; layer < end; layer++)
        {
            cancellation.ThrowIfCancellationRequested();
            Layers[layer].Run(step, state);
        }
    }

    /// <summary>The logits of some tokens of the batch that <see cref="Run"/> ran last.</summary>
    /// <param name="scratch">Memory.</param>
    /// <param name="first">First token in the batch.</param>
    /// <param name="logits">[tokens x vocabulary], overwritten; at most <see cref="Scratch.LogitRows"/> tokens.</param>
    public void Logits(Scratch scratch, int first, Span<float> logits)
    {
        Backend.Read(LogitRows(scratch, first, logits.Length / Output.Weight.Rows), logits);
    }

    /// <summary>The highest logit of a token of the batch that <see cref="Run"/> ran last, of equals that of the lowest id. The others stay in the first row of <see cref="Scratch.Logits"/>.</summary>
    /// <param name="scratch">Memory.</param>
    /// <param name="token">The token in the batch.</param>
    /// <returns>Its id, -1 where a logit is NaN or infinite, and the logit.</returns>
    public (int Id, float Logit) Best(Scratch scratch, int token)
    {
        Backend.TopK(LogitRows(scratch, token, 1), scratch.BestId, scratch.BestLogit);
        int id = 0;
        float logit = 0;
        Backend.Read(scratch.BestId, new Span<int>(ref id));
        Backend.Read(scratch.BestLogit, new Span<float>(ref logit));
        return (id, logit);
    }

    // The logits of some tokens, on the device.
    private Tensor LogitRows(Scratch scratch, int first, int count)
    {
        scratch.LogitsOwner?.FetchLogits();
        Tensor state = scratch.State.SliceRows(first, count);
        Tensor rows = scratch.Logits.SliceRows(0, count);
        new NormedInput(state, OutputNorm, scratch.LogitState.SliceRows(0, count)).MatMul(Backend, Output.Weight, rows);
        Output.AddBias(Backend, rows);
        if (LogitScale != 1) Backend.Scale(rows, LogitScale, rows);
        if (LogitSoftCap > 0) Backend.SoftCap(rows, LogitSoftCap, rows);
        return rows;
    }
}
