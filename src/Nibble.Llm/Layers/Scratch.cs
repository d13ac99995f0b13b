using Nibble.Core.Compute;
using Nibble.Llm.Sessions;

namespace Nibble.Llm.Layers;

/// <summary>The widths that a model's layers need.</summary>
/// <param name="Width">Values of a token's state.</param>
/// <param name="Work">Values a token that the layer with most of them takes.</param>
/// <param name="Ids">Ids a token that the layer with most of them takes.</param>
/// <param name="LayerInputs">Values a token of all layers' own inputs.</param>
/// <param name="Vocabulary">Logits of a token.</param>
internal readonly record struct ScratchShape(int Width, int Work, int Ids, int LayerInputs, int Vocabulary)
{
    /// <summary>Bytes that a <see cref="Scratch"/> of this shape takes.</summary>
    /// <param name="tokens">Tokens of a batch.</param>
    /// <param name="logitRows">Rows of logits at a time.</param>
    public long Bytes(int tokens, int logitRows) =>
        4L * ((long)tokens * ((4L * Width) + Work + Ids + LayerInputs + 1) + ((long)logitRows * (Vocabulary + Width)) + 2);
}

/// <summary>The activations of one batch, allocated once and used by every layer in turn.</summary>
internal sealed class Scratch : IDisposable
{
    private readonly List<TensorBuffer> _buffers = [];
    private readonly Tensor _work;
    private readonly Tensor _ids;
    private readonly int[] _positions;
    private Session? _logitsOwner;
    private long _workUsed;
    private long _idsUsed;

    /// <summary>Allocates for batches of up to <paramref name="tokens"/>.</summary>
    /// <param name="backend">Whose memory.</param>
    /// <param name="shape">Widths.</param>
    /// <param name="tokens">Tokens of a batch.</param>
    /// <param name="logitRows">Rows of logits at a time.</param>
    /// <exception cref="InsufficientMemoryException">The backend has not enough memory; nothing is left allocated.</exception>
    public Scratch(Backend backend, ScratchShape shape, int tokens, int logitRows)
    {
        Tokens = tokens;
        LogitRows = logitRows;
        _positions = new int[tokens];
        try
        {
            State = Float(tokens, shape.Width);
            Normed = Float(tokens, shape.Width);
            Delta = Float(tokens, shape.Width);
            Parallel = Float(tokens, shape.Width);
            _work = Float(tokens, shape.Work);
            _ids = Ids(tokens, shape.Ids);
            LayerInputs = Float(tokens, shape.LayerInputs);
            LogitState = Float(logitRows, shape.Width);
            Logits = Float(logitRows, shape.Vocabulary);
            BestId = Ids(1, 1);
            BestLogit = Float(1, 1);
        }
        catch
        {
            Dispose();
            throw;
        }

        Tensor Float(int rows, int columns) => Kept(backend.Allocate(ElementType.Float32, rows, columns));
        Tensor Ids(int rows, int columns) => Kept(backend.Allocate(ElementType.Int32, rows, columns));
        Tensor Kept(Tensor tensor)
        {
            _buffers.Add(tensor.Buffer);
            return tensor;
        }
    }

    /// <summary>Tokens of a batch at most.</summary>
    public int Tokens { get; }

    /// <summary>Rows of logits at a time at most.</summary>
    public int LogitRows { get; }

    /// <summary>[tokens x width] the residual stream.</summary>
    public Tensor State { get; }

    /// <summary>[tokens x width] what a block reads.</summary>
    public Tensor Normed { get; }

    /// <summary>[tokens x width] what a block adds.</summary>
    public Tensor Delta { get; }

    /// <summary>[tokens x width] what the network beside attention adds.</summary>
    public Tensor Parallel { get; }

    /// <summary>[tokens x layers of size] the inputs that layers have of their own.</summary>
    public Tensor LayerInputs { get; }

    /// <summary>[logit rows x width] normed states of the tokens whose logits are wanted.</summary>
    public Tensor LogitState { get; }

    /// <summary>[logit rows x vocabulary].</summary>
    public Tensor Logits { get; }

    /// <summary>[1 x 1] the id of a token's highest logit.</summary>
    public Tensor BestId { get; }

    /// <summary>[1 x 1] that logit.</summary>
    public Tensor BestLogit { get; }

    /// <summary>Whose logits the first row of <see cref="Logits"/> are, where they were left there; it reads them before others take their place.</summary>
    public Session? LogitsOwner
    {
        get => Volatile.Read(ref _logitsOwner);
        set => Volatile.Write(ref _logitsOwner, value);
    }

    /// <summary>Everything that a layer took is free again.</summary>
    public void BeginLayer()
    {
        _workUsed = 0;
        _idsUsed = 0;
    }

    /// <summary>Memory for the rest of the layer, its content undefined. What a layer takes, <see cref="Mixer.WorkColumns"/> and its like declare.</summary>
    /// <param name="rows">Rows.</param>
    /// <param name="columns">Columns.</param>
    /// <exception cref="ArgumentOutOfRangeException">More was taken than was declared.</exception>
    public Tensor Take(int rows, int columns)
    {
        Tensor taken = new(_work.Buffer, _workUsed, rows, columns, columns);
        _workUsed += (long)rows * columns;
        return taken;
    }

    /// <summary>Memory for ids for the rest of the layer.</summary>
    /// <param name="rows">Rows.</param>
    /// <param name="columns">Columns.</param>
    /// <exception cref="ArgumentOutOfRangeException">More was taken than was declared.</exception>
    public Tensor TakeIds(int rows, int columns)
    {
        Tensor taken = new(_ids.Buffer, _idsUsed, rows, columns, columns);
        _idsUsed += (long)rows * columns;
        return taken;
    }

    /// <summary>The numbers of positions.</summary>
    /// <param name="first">The first.</param>
    /// <param name="count">How many.</param>
    public ReadOnlySpan<int> Positions(int first, int count)
    {
        for (int i = 0; i < count; i++)
            _positions[i] = first + i;
        return _positions.AsSpan(0, count);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (TensorBuffer buffer in _buffers)
            buffer.Dispose();
    }
}
