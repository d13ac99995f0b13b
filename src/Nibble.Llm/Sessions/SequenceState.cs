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
    /// <summary>The layer of the model that each layer of the KV cache belongs to.</summary>
    public ImmutableArray<int> KvOwners { get; init; } = [];

    /// <summary>The layer of the model that each recurrent state belongs to.</summary>
    public ImmutableArray<int> StateOwners { get; init; } = [];

    /// <summary>Values of all recurrent states together.</summary>
    public long StateValues => States.Sum(state => (long)state.Rows * state.Columns);

    /// <summary>Bytes that a sequence takes, with copies of its recurrent states.</summary>
    /// <param name="capacity">Positions.</param>
    /// <param name="format">Format of keys and values.</param>
    /// <param name="batch">Tokens of a batch at most.</param>
    /// <exception cref="ArgumentException">The format does not suit the heads.</exception>
    public long Bytes(int capacity, BlockFormat format, int batch) =>
        KvCache.Bytes(Kv.AsSpan(), capacity, format, batch) + (4 * StateValues * (1 + SequenceState.MaxCopies));
}

/// <summary>A copy of a sequence's recurrent states, and the logits that went with them.</summary>
/// <param name="length">Positions that the states are of.</param>
/// <param name="states">The states.</param>
/// <param name="logits">[vocabulary], or empty.</param>
internal sealed class StateCopy(int length, ImmutableArray<Tensor> states, float[] logits) : IDisposable
{
    /// <summary>Positions that the states are of.</summary>
    public int Length => length;

    /// <summary>The states.</summary>
    public ImmutableArray<Tensor> States => states;

    /// <summary>[vocabulary], or empty where there were none.</summary>
    public ReadOnlySpan<float> Logits => logits;

    /// <summary>Frees the memory.</summary>
    public void Dispose()
    {
        foreach (Tensor state in states)
            state.Buffer.Dispose();
    }
}

/// <summary>What the layers of one sequence remember: keys and values, and recurrent states (convolutions, state space models, delta rules).</summary>
/// <remarks>
/// Keys and values of a position stay until a layer with a window overwrites them, so a sequence can mostly go back to any length. A recurrent state knows only its
/// newest position: going back needs a copy of it from then (<see cref="StateCopy"/>), or a new start.
/// </remarks>
internal sealed class SequenceState : IDisposable
{
    /// <summary>Copies of the recurrent states that a session keeps at most.</summary>
    public const int MaxCopies = 4;

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
        try
        {
            States = AllocateStates(shape.States);
        }
        catch
        {
            Cache.Dispose();
            throw;
        }
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
        float[] zeros = new float[States.Select(state => state.Rows * state.Columns).DefaultIfEmpty().Max()];
        foreach (Tensor state in States)
            _backend.Write(zeros.AsSpan(0, state.Rows * state.Columns), state);
    }

    /// <summary>A copy of the recurrent states.</summary>
    /// <param name="length">Positions that they are of.</param>
    /// <param name="logits">The logits of the last one; empty for none.</param>
    public StateCopy CopyStates(int length, ReadOnlySpan<float> logits) => CopyStates(States, length, logits);

    /// <summary>A copy of a copy, which may be another sequence's.</summary>
    /// <param name="source">The copy.</param>
    public StateCopy CopyStates(StateCopy source) => CopyStates(source.States, source.Length, source.Logits);

    /// <summary>Puts copied states back.</summary>
    /// <param name="copy">The copy.</param>
    public void RestoreStates(StateCopy copy) => Copy(copy.States, States);

    /// <summary>A recurrent state, copied to the host.</summary>
    /// <param name="index">Which.</param>
    public float[] ReadState(int index)
    {
        float[] values = new float[States[index].Rows * States[index].Columns];
        _backend.Read(States[index], values);
        return values;
    }

    /// <summary>Overwrites a recurrent state.</summary>
    /// <param name="index">Which.</param>
    /// <param name="values">[rows x columns].</param>
    public void WriteState(int index, ReadOnlySpan<float> values) => _backend.Write(values, States[index]);

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
        Copy(source.States, States);
        (_stored, _restoredFrom) = (source._stored, source._restoredFrom);
    }

    /// <summary>Frees the memory.</summary>
    public void Dispose()
    {
        Cache.Dispose();
        foreach (Tensor state in States)
            state.Buffer.Dispose();
    }

    private ImmutableArray<Tensor> AllocateStates(IEnumerable<StateShape> shapes)
    {
        List<Tensor> states = [];
        try
        {
            foreach (StateShape shape in shapes)
                states.Add(_backend.Allocate(ElementType.Float32, shape.Rows, shape.Columns));
            return [.. states];
        }
        catch
        {
            foreach (Tensor state in states)
                state.Buffer.Dispose();
            throw;
        }
    }

    private StateCopy CopyStates(ImmutableArray<Tensor> states, int length, ReadOnlySpan<float> logits)
    {
        StateCopy copy = new(length, AllocateStates(states.Select(state => new StateShape(state.Rows, state.Columns))), logits.ToArray());
        Copy(states, copy.States);
        return copy;
    }

    private void Copy(ImmutableArray<Tensor> from, ImmutableArray<Tensor> to)
    {
        for (int i = 0; i < from.Length; i++)
            _backend.Copy(from[i], to[i]);
    }
}
