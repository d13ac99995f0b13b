using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Llm.Layers;
using Nibble.Llm.Sessions;

namespace Nibble.Llm.Models;

/// <summary>
/// Runs a model over chunks of text some layers at a time: first these layers over all chunks, then those behind them, with the states between kept by the caller. What is learned about a layer's
/// inputs then needs memory for those layers alone.
/// </summary>
/// <remarks>It is the forward pass of <see cref="Session"/>, cut between layers, so the numbers are the same bit for bit.</remarks>
public sealed class LayerStream : IDisposable
{
    private readonly LanguageModel _model;
    private readonly Session _session;

    /// <summary>Prepares.</summary>
    /// <param name="model">The model.</param>
    /// <param name="chunkTokens">Tokens of a chunk at most.</param>
    /// <param name="kvFormat">Format of keys and values, one of <see cref="KvCache.Formats"/>.</param>
    /// <exception cref="ArgumentException">The model takes no such chunk or format.</exception>
    /// <exception cref="InsufficientMemoryException">There is no memory for the keys and values of a chunk.</exception>
    public LayerStream(LanguageModel model, int chunkTokens, BlockFormat kvFormat)
    {
        ArgumentNullException.ThrowIfNull(model);
        _model = model;
        _session = model.NewSession(new SessionOptions { Context = chunkTokens, KvFormat = kvFormat });
        Width = model.Decoder.Embedding.Columns;
    }

    /// <summary>Layers of the model.</summary>
    public int LayerCount => _model.Decoder.Layers.Length;

    /// <summary>Values of a token's state.</summary>
    public int Width { get; }

    /// <summary>The first place at or after one where the layers can be cut: where no layer behind it reads keys and values that one before it stored.</summary>
    /// <param name="layer">The place: the layer that would be the first behind the cut, 1 to <see cref="LayerCount"/>.</param>
    public int NextCut(int layer)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(layer, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(layer, LayerCount);
        HashSet<int> before = [.. _model.Decoder.Layers.Take(layer).SelectMany(one => one.Mixer?.KvIndices ?? [])];
        int cut = layer;
        for (int i = layer; i < LayerCount; i++)
        {
            if ((_model.Decoder.Layers[i].Mixer?.KvIndices ?? []).Any(before.Contains)) return i + 1 == LayerCount ? LayerCount : NextCut(i + 1);
        }

        return cut;
    }

    /// <summary>Runs layers over one chunk, from its first position on.</summary>
    /// <param name="first">The first layer.</param>
    /// <param name="end">The layer after the last; behind it, and before the first, is a cut.</param>
    /// <param name="chunk">[tokens] ids.</param>
    /// <param name="states">[tokens x width] what the layer before <paramref name="first"/> gave, not read where it is 0; overwritten with what the last layer gives.</param>
    /// <param name="cancellation">Looked at between layers.</param>
    /// <exception cref="ArgumentException">An id that the vocabulary does not have, or a wrong number of states.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public void Run(int first, int end, ReadOnlySpan<int> chunk, Span<float> states, CancellationToken cancellation)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(first);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(end, LayerCount);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(chunk.Length, _session.Capacity);
        ArgumentOutOfRangeException.ThrowIfNotEqual(states.Length, chunk.Length * Width);
        foreach (int id in chunk)
            if ((uint)id >= (uint)_model.VocabularySize) throw new ArgumentOutOfRangeException(nameof(chunk), $"token {id} is not in the vocabulary, whose ids are 0 to {_model.VocabularySize - 1}.");
        Decoder decoder = _model.Decoder;
        Scratch scratch = _model.Scratch;
        lock (_model.Turn)
        {
            _session.State.Clear();
            for (int start = 0; start < chunk.Length; start += scratch.Tokens)
            {
                int count = Math.Min(scratch.Tokens, chunk.Length - start);
                Tensor state = scratch.State.SliceRows(0, count);
                Span<float> values = states.Slice(start * Width, count * Width);
                if (first == 0 || decoder.LayerInputs is not null) decoder.Embed(chunk.Slice(start, count), start, scratch);
                if (first > 0) decoder.Backend.Write(values, state);
                decoder.RunLayers(first, end, count, _session.State, start, scratch, cancellation);
                decoder.Backend.Read(state, values);
            }
        }
    }

    /// <summary>The logits that follow from what the last layer gave.</summary>
    /// <param name="states">[tokens x width].</param>
    /// <param name="handler">Takes them, token by token, numbered from 0; null where only the product itself matters, to a backend that records it.</param>
    /// <param name="cancellation">Looked at now and then.</param>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public void RunOutput(ReadOnlySpan<float> states, LogitsHandler? handler, CancellationToken cancellation)
    {
        Decoder decoder = _model.Decoder;
        Scratch scratch = _model.Scratch;
        int tokens = states.Length / Width, step = Math.Min(scratch.LogitRows, scratch.Tokens), vocabulary = _model.VocabularySize;
        lock (_model.Turn)
        {
            for (int start = 0; start < tokens; start += step)
            {
                cancellation.ThrowIfCancellationRequested();
                int count = Math.Min(step, tokens - start);
                decoder.Backend.Write(states.Slice(start * Width, count * Width), scratch.State.SliceRows(0, count));
                Span<float> logits = _model.LogitRows(count);
                decoder.Logits(scratch, 0, logits);
                for (int row = 0; row < count; row++)
                    handler?.Invoke(start + row, logits.Slice(row * vocabulary, vocabulary));
            }
        }
    }

    /// <summary>Frees keys and values.</summary>
    public void Dispose() => _session.Dispose();
}
