using Nibble.Core.Compute;
using Nibble.Core.Memory;
using Nibble.Llm.Models;

namespace Nibble.Llm.Sessions;

/// <summary>Takes the logits of one position. The span is valid during the call only.</summary>
/// <param name="position">Position in the session.</param>
/// <param name="logits">[vocabulary].</param>
public delegate void LogitsHandler(int position, ReadOnlySpan<float> logits);

/// <summary>One sequence of tokens with its keys and values. Immutable weights are shared, everything that changes is here.</summary>
/// <remarks>One thread at a time uses a session. Sessions of one model may be used by several threads: their batches take turns.</remarks>
public sealed class Session : IDisposable
{
    private readonly int[] _tokens;
    private readonly NativeBuffer _logits;
    private bool _hasLogits;

    // Whether the next logits stay on the device, of which only the highest comes back.
    private bool _choosesBest;
    private (int Id, float Logit) _best;

    // Copies of the recurrent states, the shortest first.
    private readonly List<StateCopy> _checkpoints = [];

    // Whether a batch was broken off, so that the recurrent states are of no position.
    private bool _isBroken;

    // Tokens that belong behind those that the session holds and that are not evaluated again yet: a cancelled call leaves them for the next one.
    private int[] _pending = [];

    internal Session(LanguageModel model, SessionOptions options)
    {
        Model = model;
        Options = options;
        int capacity = options.Context ?? Math.Min(model.ContextLength, SessionOptions.DefaultContext);
        if (capacity <= 0)
            throw new ArgumentOutOfRangeException(nameof(options), $"a context of {capacity} positions was asked for; it must be at least 1.");
        if (model.Decoder.PositionEmbedding is { } table)
        {
            if (options.Context > table.Rows)
                throw new ArgumentOutOfRangeException(nameof(options), $"a context of {options.Context} positions was asked for; the model has embeddings of {table.Rows} positions and cannot see further. Use a smaller context (--context).");
            capacity = Math.Min(capacity, table.Rows);
        }

        if (options.Keep < 0)
            throw new ArgumentOutOfRangeException(nameof(options), $"{options.Keep} tokens to keep were asked for; it must be 0 or more.");
        if (!model.Backend.Supports(Operation.KvCache, options.KvFormat))
            throw new ArgumentException($"device {model.Backend.Name} cannot keep keys and values in {options.KvFormat}; use {string.Join(", ", KvCache.Formats)}.", nameof(options));
        model.CheckMemory(capacity, options.KvFormat);
        _tokens = new int[capacity];
        _logits = new NativeBuffer(4L * model.VocabularySize);
        try
        {
            State = new SequenceState(model.Backend, model.Decoder.Sequence, capacity, options.KvFormat, model.BatchTokens);
        }
        catch
        {
            _logits.Dispose();
            throw;
        }
    }

    /// <summary>The model.</summary>
    public LanguageModel Model { get; }

    /// <summary>How the session was made.</summary>
    public SessionOptions Options { get; }

    /// <summary>Positions that fit.</summary>
    public int Capacity => _tokens.Length;

    /// <summary>Positions in use. Tokens that a cancelled call left to be evaluated again come before those of the next <see cref="Evaluate(ReadOnlySpan{int}, CancellationToken)"/>, and count from then on.</summary>
    public int Length { get; private set; }

    /// <summary>The ids at the positions in use.</summary>
    public ReadOnlySpan<int> Tokens => _tokens.AsSpan(0, Length);

    /// <summary>How often a context shift has dropped older tokens.</summary>
    public int ContextShifts { get; private set; }

    /// <summary>The logits of the last position, [vocabulary]. They stay until the next evaluation.</summary>
    /// <exception cref="InvalidOperationException">Nothing was evaluated since the session was made or rewound.</exception>
    public ReadOnlySpan<float> Logits
    {
        get
        {
            FetchLogits();
            return _hasLogits
                ? _logits.Span<float>(0, Model.VocabularySize)
                : throw new InvalidOperationException("the session has no logits; evaluate at least one token first.");
        }
    }

    /// <summary>Whether <see cref="Logits"/> are there.</summary>
    public bool HasLogits => Model.Scratch.LogitsOwner == this || _hasLogits;

    /// <summary>Whether the model keeps a state besides keys and values, so that going back needs a checkpoint or a new evaluation.</summary>
    public bool IsRecurrent => State.IsRecurrent;

    internal SequenceState State { get; }

    /// <summary>Appends tokens; afterwards <see cref="Logits"/> are those of the last.</summary>
    /// <param name="ids">Ids, at least one.</param>
    /// <param name="cancellation">Looked at between layers. What was evaluated in whole batches stays.</param>
    /// <exception cref="ArgumentException">No ids, or an id that the vocabulary does not have.</exception>
    /// <exception cref="ContextOverflowException">They do not fit. Nothing was changed.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public void Evaluate(ReadOnlySpan<int> ids, CancellationToken cancellation = default) => Evaluate(ids, ids.Length, null, cancellation);

    /// <summary>Appends tokens and hands out the logits of several positions.</summary>
    /// <param name="ids">Ids, at least one.</param>
    /// <param name="logitsFrom">Index in <paramref name="ids"/> of the first token whose logits are handed out.</param>
    /// <param name="handler">Takes them, position by position; null for none.</param>
    /// <param name="cancellation">Looked at between layers. What was evaluated in whole batches stays.</param>
    /// <exception cref="ArgumentException">No ids, or an id that the vocabulary does not have.</exception>
    /// <exception cref="ContextOverflowException">They do not fit. Nothing was changed.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public void Evaluate(ReadOnlySpan<int> ids, int logitsFrom, LogitsHandler? handler, CancellationToken cancellation = default)
    {
        CheckIds(ids);
        MakeRoom(ids.Length);
        if (_isBroken) _pending = [.. GoBack(Length), .. _pending];
        while (_pending.Length > 0)
        {
            int count = Math.Min(Model.Scratch.Tokens, _pending.Length);
            RunBatch(_pending.AsSpan(0, count), 0, ids.Length, null, cancellation);
            _pending = _pending[count..];
        }

        EvaluateBatches(ids, logitsFrom, handler, cancellation);
    }

    /// <summary>Makes the session hold exactly a prompt: keeps the longest prefix that is already there, evaluates the rest.</summary>
    /// <param name="prompt">Ids, at least one.</param>
    /// <param name="cancellation">Looked at between layers.</param>
    /// <returns>How many tokens were there already.</returns>
    /// <exception cref="ArgumentException">No ids, or an id that the vocabulary does not have.</exception>
    /// <exception cref="ContextOverflowException">The prompt does not fit. Nothing was changed.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public int Prefill(ReadOnlySpan<int> prompt, CancellationToken cancellation = default)
    {
        CheckIds(prompt);
        if (prompt.Length > Capacity) throw new ContextOverflowException(0, prompt.Length, Capacity, Options.ContextShift);
        int reused = Tokens.CommonPrefixLength(prompt);
        if (reused == prompt.Length)
        {
            if (reused == Length && HasLogits) return reused;
            if (!HasLogitsOf(reused)) reused--;
        }

        // Tokens that going back has to evaluate again were not reused.
        reused -= GoBack(reused).Length;
        _pending = [];
        if (reused == prompt.Length) return reused;
        Evaluate(prompt[reused..], cancellation);
        Checkpoint();
        return reused;
    }

    /// <summary>Forgets all positions from <paramref name="length"/> on. Where what the model remembers cannot be taken back, tokens are evaluated again.</summary>
    /// <param name="length">Positions that stay.</param>
    /// <param name="cancellation">Looked at between layers; when cancelled, fewer positions may stay.</param>
    /// <returns>How many tokens were evaluated again: <see cref="RewindCost"/>.</returns>
    /// <exception cref="ArgumentOutOfRangeException">Negative, or more than there are.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public int Rewind(int length, CancellationToken cancellation = default)
    {
        int[] again = GoBack(length);
        _pending = [];
        EvaluateBatches(again, again.Length, null, cancellation);
        return again.Length;
    }

    /// <summary>How many tokens <see cref="Rewind"/> would evaluate again.</summary>
    /// <remarks>
    /// None for a model that has only keys and values of all positions. A recurrent state (short convolution, state space, delta rule) goes back to a
    /// <see cref="Checkpoint"/> or to the start, and a layer with a sliding window only as far as it still holds what the window needs.
    /// </remarks>
    /// <param name="length">Positions that would stay.</param>
    /// <exception cref="ArgumentOutOfRangeException">Negative, or more than there are.</exception>
    public int RewindCost(int length) => length - RewindBase(length);

    /// <summary>
    /// Remembers the recurrent states of this length and the logits, so that <see cref="Rewind"/> comes back here at no cost. The newest four are kept;
    /// without such states, or after a call that was cancelled, it does nothing. <see cref="Prefill"/> does it by itself.
    /// </summary>
    public void Checkpoint()
    {
        if (!State.IsRecurrent || _isBroken || Length == 0 || _checkpoints.Exists(checkpoint => checkpoint.Length == Length)) return;
        if (_checkpoints.Count == SequenceState.MaxCopies) Forget(0);
        lock (Model.Turn) _checkpoints.Add(State.CopyStates(Length, HasLogits ? Logits : default));
    }

    /// <summary>A second session that holds the same tokens and goes its own way.</summary>
    public Session Fork()
    {
        Session copy = new(Model, Options);
        try
        {
            lock (Model.Turn)
            {
                copy.State.CopyFrom(State, Length);
                foreach (StateCopy checkpoint in _checkpoints)
                    copy._checkpoints.Add(State.CopyStates(checkpoint));
            }

            Tokens.CopyTo(copy._tokens);
            copy.Length = Length;
            copy._isBroken = _isBroken;
            copy._pending = _pending;
            copy.KeepLogits(HasLogits ? Logits : default);
            return copy;
        }
        catch
        {
            copy.Dispose();
            throw;
        }
    }

    /// <summary>Writes tokens, keys, values and logits to a file: first beside it, then in its place.</summary>
    /// <param name="path">The file.</param>
    /// <param name="attachment">Bytes of the caller's own that travel with it.</param>
    /// <exception cref="InvalidOperationException">A call was cancelled while it evaluated tokens again, for a context shift or to mend the recurrent states, and that is not finished.</exception>
    /// <exception cref="SessionStateException">There is a file of that name that is no saved session.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public void Save(string path, ReadOnlySpan<byte> attachment = default)
    {
        if (_pending.Length > 0)
            throw new InvalidOperationException("a cancelled call left tokens that must be evaluated again, and they would be lost in the file; evaluate a token first.");
        if (_isBroken) Rewind(Length);
        lock (Model.Turn) SessionStateFile.Write(this, path, attachment);
    }

    /// <summary>Takes the state of a file, made by <see cref="Save"/> with the same model and KV format.</summary>
    /// <param name="path">The file.</param>
    /// <param name="takeAttachment">Given the attachment before anything changes; what it throws ends the call.</param>
    /// <exception cref="SessionStateException">The file is damaged, of another model, or does not fit. The session is as it was.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public void Restore(string path, Action<byte[]>? takeAttachment = null)
    {
        lock (Model.Turn) SessionStateFile.Read(this, path, takeAttachment);
    }

    /// <summary>Frees keys and values.</summary>
    public void Dispose()
    {
        LeaveLogits();
        State.Dispose();
        foreach (StateCopy checkpoint in _checkpoints)
            checkpoint.Dispose();
        _checkpoints.Clear();
        _logits.Dispose();
    }

    /// <summary>Appends a token and chooses the one that follows where the logits are: that of the highest logit, of equals the lowest id. <see cref="Logits"/> are read when they are asked for.</summary>
    /// <param name="id">The token.</param>
    /// <param name="cancellation">Looked at between layers.</param>
    /// <returns>Its id and its logit; an id of -1 where the device does not choose, or a logit is NaN or infinite.</returns>
    internal (int Id, float Logit) EvaluateBest(int id, CancellationToken cancellation)
    {
        _best = (-1, 0);
        _choosesBest = Model.Backend.HasTopK;
        try
        {
            Evaluate([id], cancellation);
        }
        finally
        {
            _choosesBest = false;
        }

        return _best;
    }

    /// <summary>Reads the logits that were left on the device.</summary>
    internal void FetchLogits()
    {
        if (Model.Scratch.LogitsOwner != this) return;
        lock (Model.Turn)
        {
            if (Model.Scratch.LogitsOwner != this) return;
            Model.Backend.Read(Model.Scratch.Logits.SliceRows(0, 1), _logits.Span<float>(0, Model.VocabularySize));
            _hasLogits = true;
            Model.Scratch.LogitsOwner = null;
        }
    }

    internal void SetState(ReadOnlySpan<int> tokens, ReadOnlySpan<float> logits)
    {
        while (_checkpoints.Count > 0)
            Forget(0);
        _isBroken = false;
        tokens.CopyTo(_tokens);
        Length = tokens.Length;
        KeepLogits(logits);
        _pending = [];
    }

    /// <summary>Evaluates a batch and appends it; when none is to follow, keeps the logits of its last token.</summary>
    private void RunBatch(ReadOnlySpan<int> batch, int logitsFrom, int following, LogitsHandler? handler, CancellationToken cancellation)
    {
        if (Model.Turn.IsHeldByCurrentThread)
            throw new InvalidOperationException("a handler of logits cannot evaluate a session of the same model; keep the logits and do it after the call.");
        lock (Model.Turn)
        {
            KeepLogits(default);
            State.NoteStored(Length + batch.Length);
            _isBroken = State.IsRecurrent;
            Model.Decoder.Run(batch, State, Length, Model.Scratch, cancellation);
            if (handler is not null) HandOut(batch.Length, logitsFrom, handler);
            batch.CopyTo(_tokens.AsSpan(Length));
            Length += batch.Length;
            _isBroken = false;
            if (following > 0) return;
            if (_choosesBest)
            {
                _best = Model.Decoder.Best(Model.Scratch, batch.Length - 1);
                Model.Scratch.LogitsOwner = this;
                return;
            }

            Model.Decoder.Logits(Model.Scratch, batch.Length - 1, _logits.Span<float>(0, Model.VocabularySize));
            _hasLogits = true;
        }
    }

    private void HandOut(int count, int logitsFrom, LogitsHandler handler)
    {
        int vocabulary = Model.VocabularySize;
        for (int first = logitsFrom; first < count;)
        {
            int rows = Math.Min(Model.Scratch.LogitRows, count - first);
            Span<float> logits = Model.LogitRows(rows);
            Model.Decoder.Logits(Model.Scratch, first, logits);
            for (int row = 0; row < rows; row++)
                handler(Length + first + row, logits.Slice(row * vocabulary, vocabulary));
            first += rows;
        }
    }

    private void EvaluateBatches(ReadOnlySpan<int> ids, int logitsFrom, LogitsHandler? handler, CancellationToken cancellation)
    {
        for (int start = 0; start < ids.Length;)
        {
            int count = Math.Min(Model.Scratch.Tokens, ids.Length - start);
            RunBatch(ids.Slice(start, count), Math.Max(0, logitsFrom - start), ids.Length - start - count, handler, cancellation);
            start += count;
        }
    }

    /// <summary>The length, at most the given one, whose keys, values and states are there.</summary>
    private int RewindBase(int length)
    {
        if (length < 0 || length > Length)
            throw new ArgumentOutOfRangeException(nameof(length), $"the session holds {Length} positions and cannot be rewound to {length}.");
        if (length == Length && !_isBroken) return length;
        if (!State.IsRecurrent) return State.HasKv(length) ? length : 0;
        return _checkpoints.FindLast(checkpoint => checkpoint.Length <= length && State.HasKv(checkpoint.Length))?.Length ?? 0;
    }

    /// <summary>Goes back to <see cref="RewindBase"/> of a length.</summary>
    /// <returns>The tokens from there to the length, to be evaluated again.</returns>
    private int[] GoBack(int length)
    {
        int from = RewindBase(length);
        int[] again = _tokens[from..length];
        if (from == Length && !_isBroken) return again;
        while (_checkpoints.Count > 0 && _checkpoints[^1].Length > from)
            Forget(_checkpoints.Count - 1);
        StateCopy? copy = from > 0 && State.IsRecurrent ? _checkpoints[^1] : null;
        lock (Model.Turn)
        {
            if (from == 0) State.Clear();
            else if (copy is not null) State.RestoreStates(copy);
        }

        _isBroken = false;
        Length = from;
        KeepLogits(copy is null ? default : copy.Logits);
        return again;
    }

    /// <summary>Whether going back to a length brings its logits back.</summary>
    private bool HasLogitsOf(int length) =>
        State.HasKv(length) && _checkpoints.Exists(checkpoint => checkpoint.Length == length && !checkpoint.Logits.IsEmpty);

    private void KeepLogits(ReadOnlySpan<float> logits)
    {
        LeaveLogits();
        _hasLogits = !logits.IsEmpty;
        if (_hasLogits) logits.CopyTo(_logits.Span<float>(0, Model.VocabularySize));
    }

    /// <summary>Gives up logits that were left on the device. Another thread may be reading them for this session.</summary>
    private void LeaveLogits()
    {
        if (Model.Scratch.LogitsOwner != this) return;
        lock (Model.Turn)
            if (Model.Scratch.LogitsOwner == this) Model.Scratch.LogitsOwner = null;
    }

    private void Forget(int checkpoint)
    {
        _checkpoints[checkpoint].Dispose();
        _checkpoints.RemoveAt(checkpoint);
    }

    private void MakeRoom(int count)
    {
        if (count <= Capacity - Length - _pending.Length) return;
        int keep = Math.Min(Options.Keep, Length);
        if (!Options.ContextShift || count > Capacity - keep)
            throw new ContextOverflowException(Length + _pending.Length, count, Capacity, Options.ContextShift);
        // Recomputing what stays is exact, unlike turning old keys to new positions, and needs no operation of its own.
        int[] after = [.. _tokens[keep..Length], .. _pending];
        int drop = Math.Min(after.Length, Math.Max(count - (Capacity - keep - after.Length), after.Length / 2));
        _pending = [.. GoBack(keep), .. after[drop..]];
        ContextShifts++;
    }

    private void CheckIds(ReadOnlySpan<int> ids)
    {
        if (ids.IsEmpty) throw new ArgumentException("there are no tokens to evaluate.", nameof(ids));
        foreach (int id in ids)
            if ((uint)id >= (uint)Model.VocabularySize)
                throw new ArgumentOutOfRangeException(nameof(ids), $"token {id} is not in the vocabulary, whose ids are 0 to {Model.VocabularySize - 1}.");
    }
}
