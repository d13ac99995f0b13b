using System.Collections.Immutable;
using Nibble.Core.Compute;
using Nibble.Core.Formats;

namespace Nibble.Llm.Sessions;

/// <summary>The shape of one layer's recurrent state.</summary>
/// <param name="Rows">Rows.</param>
/// <param name="Columns">Columns, float32.</param>
internal readonly record struct StateShape(int Rows, int Columns);

/// <summary>What a model's sequences keep.</summary>
/// <param name="Kv">Shape of each layer of the KV cache.</param>
/// <param name="States">Shape of each recurrent state.</param>
internal sealed record SequenceShape(ImmutableArray<KvLayer> Kv, ImmutableArray<StateShape> States)
{
    /// <summary>Values of all recurrent states together.</summary>
    public long StateValues => States.Sum(state => (long)state.Rows * state.Columns);

    /// <summary>Bytes that a sequence takes.</summary>
    /// <param name="capacity">Positions.</param>
    /// <param name="format">Format of keys and values.</param>
    /// <param name="batch">Tokens of a batch at most.</param>
    /// <exception cref="ArgumentException">The format does not suit the heads.</exception>
    public long Bytes(int capacity, BlockFormat format, int batch) => KvCache.Bytes(Kv.AsSpan(), capacity, format, batch) + (4 * StateValues);
}

/// <summary>What the layers of one sequence remember: keys and values, and recurrent states (convolutions, state space models, delta rules).</summary>
/// <remarks>
/// Keys and values of a position stay until a layer with a window overwrites them, so a sequence can mostly go back to any length. A recurrent state knows only its
/// newest position: going back needs a copy of it from then (<see cref="CaptureStates"/>), or a new start.
/// </remarks>
internal sealed class SequenceState : IDisposable
{
    private readonly Backend _backend;

    // The end of the positions that were ever stored since the start, and the first one that a restored layer with a window has.
    private int _stored;
    private int _restoredFrom;

    /// <summary>Allocates an empty sequence.</summary>
    /// <param name="backend">Whose memory.</param>
    /// <param name="shape">What is kept.</param>
    /// <param name="capacity">Positions.</param>
    /// <param name="format">Format of keys and values.</param>
    /// <param name="batch">Tokens of a batch at most.</param>
    public SequenceState(Backend backend, SequenceShape shape, int capacity, BlockFormat format, int batch)
    {
        _backend = backend;
        Cache = backend.AllocateKv(shape.Kv.AsSpan(), capacity, format, batch);
        States = [.. shape.States.Select(state => backend.Allocate(ElementType.Float32, state.Rows, state.Columns))];
    }

    /// <summary>Keys and values.</summary>
    public KvCache Cache { get; }

    /// <summary>The recurrent states.</summary>
    public ImmutableArray<Tensor> States { get; }

    /// <summary>Whether there are recurrent states.</summary>
    public bool IsRecurrent => !States.IsEmpty;

    /// <summary>Notes that positions up to an end were stored.</summary>
    /// <param name="end">The end.</param>
    public void NoteStored(int end) => _stored = Math.Max(_stored, end);

    /// <summary>Whether keys and values are as they were when the sequence had a length.</summary>
    /// <param name="length">The length.</param>
    public bool HasKv(int length)
    {
        for (int layer = 0; layer < Cache.Layers.Length; layer++)
        {
            KvLayer shape = Cache.Layers[layer];
            if (shape.Window == 0) continue;
            int lowest = Math.Min(length, shape.FirstVisible(length));
            if (lowest < length && (lowest < _restoredFrom - shape.Window || lowest < _stored - Cache.Rows(layer))) return false;
        }

        return true;
    }

    /// <summary>Back to an empty sequence.</summary>
    public void Clear()
    {
        (_stored, _restoredFrom) = (0, 0);
        foreach (Tensor state in States)
            _backend.Write(new float[state.Rows * state.Columns], state);
    }

    /// <summary>The recurrent states, one after the other, copied to the host.</summary>
    public float[] CaptureStates()
    {
        float[] values = new float[States.Sum(state => state.Rows * state.Columns)];
        int start = 0;
        foreach (Tensor state in States)
        {
            _backend.Read(state, values.AsSpan(start, state.Rows * state.Columns));
            start += state.Rows * state.Columns;
        }

        return values;
    }

    /// <summary>Puts captured states back.</summary>
    /// <param name="values">What <see cref="CaptureStates"/> gave.</param>
    public void RestoreStates(ReadOnlySpan<float> values)
    {
        int start = 0;
        foreach (Tensor state in States)
        {
            _backend.Write(values.Slice(start, state.Rows * state.Columns), state);
            start += state.Rows * state.Columns;
        }
    }

    /// <summary>The first position of a layer that a saved sequence holds: a layer with a window keeps no more than that.</summary>
    /// <param name="layer">Layer of the cache.</param>
    /// <param name="length">Positions in use.</param>
    public int FirstSaved(int layer, int length) => Cache.Layers[layer].Window == 0 ? 0 : Math.Max(0, length - Cache.Layers[layer].Window);

    /// <summary>Notes that keys and values from <see cref="FirstSaved"/> to a length were put back.</summary>
    /// <param name="length">Positions in use.</param>
    public void NoteRestored(int length) => (_stored, _restoredFrom) = (length, length);

    /// <summary>Copies a sequence of the same shape.</summary>
    /// <param name="source">The other one.</param>
    /// <param name="length">Positions in use.</param>
    public void CopyFrom(SequenceState source, int length)
    {
        Cache.CopyFrom(source.Cache, length);
        for (int i = 0; i < States.Length; i++)
            _backend.Copy(source.States[i], States[i]);
        (_stored, _restoredFrom) = (source._stored, source._restoredFrom);
    }

    /// <summary>Frees the memory.</summary>
    public void Dispose()
    {
        Cache.Dispose();
        foreach (Tensor state in States)
            state.Buffer.Dispose();
    }
}
