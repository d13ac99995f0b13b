using Nibble.Core.Memory;
using Nibble.Llm.Models;

namespace Nibble.Quantize.Gradients;

/// <summary>What one thread keeps of a layer's forward pass over a chunk, and the gradients that follow from it.</summary>
internal sealed unsafe class LayerWorkspace : IDisposable
{
    private readonly NativeBuffer _memory;
    private readonly Matrix[] _matrices;

    /// <summary>Makes room.</summary>
    /// <param name="layer">A layer of the shape.</param>
    /// <param name="tokens">Tokens of a chunk at most.</param>
    public LayerWorkspace(PlainLayer layer, int tokens)
    {
        Shape = ShapeOf(layer);
        Tokens = tokens;
        int width = layer.Output.Rows, queries = layer.Query.Rows, keys = layer.Key.Rows, values = layer.Value.Rows, attended = layer.Output.Columns, hidden = layer.Down.Columns;
        ReadOnlySpan<int> columns =
        [
            width, width, width, width, width, width, width, width, width, width,
            queries, queries, queries, keys, keys, keys, values, values, attended, attended, hidden, hidden, hidden, hidden, hidden,
        ];
        long floats = 0;
        foreach (int count in columns)
            floats += (((long)count * tokens) + 15) / 16 * 16;
        _memory = new NativeBuffer(floats * sizeof(float), isZeroed: false);
        _matrices = new Matrix[columns.Length];
        float* next = (float*)_memory.Pointer;
        for (int i = 0; i < columns.Length; i++)
        {
            _matrices[i] = new Matrix(next, tokens, columns[i]);
            next += (((long)columns[i] * tokens) + 15) / 16 * 16;
        }

        Attention = new AttentionGradient(layer.Heads, layer.Kv, layer.Scale, layer.SoftCap, tokens);
    }

    /// <summary>What a layer must have alike to use the same memory.</summary>
    public (int, int, int, int, int, int, int, Nibble.Core.Compute.KvLayer, float, float) Shape { get; }

    /// <summary>Tokens of the chunk.</summary>
    public int Tokens { get; set; }

    /// <summary>Attention and its memory.</summary>
    public AttentionGradient Attention { get; }

    /// <summary>[tokens x width] what the layer read.</summary>
    public Matrix Input => At(0);

    /// <summary>[tokens x width] what queries, keys and values are made of.</summary>
    public Matrix AttentionInput => At(1);

    /// <summary>[tokens x width] what the matrix behind attention gave.</summary>
    public Matrix AttentionOutput => At(2);

    /// <summary>[tokens x width] the state between attention and network.</summary>
    public Matrix Middle => At(3);

    /// <summary>[tokens x width] what the network read.</summary>
    public Matrix FeedForwardInput => At(4);

    /// <summary>[tokens x width] what the network's last matrix gave.</summary>
    public Matrix FeedForwardOutput => At(5);

    /// <summary>[tokens x width] what the layer gave; then the gradient at the state.</summary>
    public Matrix State => At(6);

    /// <summary>[tokens x width] the gradient at what a norm gave.</summary>
    public Matrix NormedGradient => At(7);

    /// <summary>[tokens x width] the gradient at <see cref="AttentionOutput"/>.</summary>
    public Matrix AttentionOutputGradient => At(8);

    /// <summary>[tokens x width] the gradient at <see cref="FeedForwardOutput"/>.</summary>
    public Matrix FeedForwardOutputGradient => At(9);

    /// <summary>Queries before norm and RoPE; not filled without a norm.</summary>
    public Matrix RawQueries => At(10);

    /// <summary>Queries.</summary>
    public Matrix Queries => At(11);

    /// <summary>The gradient at what the queries' matrix gave.</summary>
    public Matrix QueryGradient => At(12);

    /// <summary>Keys before norm and RoPE; not filled without a norm.</summary>
    public Matrix RawKeys => At(13);

    /// <summary>Keys.</summary>
    public Matrix Keys => At(14);

    /// <summary>The gradient at what the keys' matrix gave.</summary>
    public Matrix KeyGradient => At(15);

    /// <summary>Values.</summary>
    public Matrix Values => At(16);

    /// <summary>The gradient at the values.</summary>
    public Matrix ValueGradient => At(17);

    /// <summary>What attention gave.</summary>
    public Matrix Attended => At(18);

    /// <summary>The gradient at it.</summary>
    public Matrix AttendedGradient => At(19);

    /// <summary>What the gate's matrix gave.</summary>
    public Matrix Gates => At(20);

    /// <summary>The gradient at it.</summary>
    public Matrix GateGradient => At(21);

    /// <summary>What the other matrix gave.</summary>
    public Matrix Ups => At(22);

    /// <summary>The gradient at it.</summary>
    public Matrix UpGradient => At(23);

    /// <summary>What the network's last matrix read.</summary>
    public Matrix Inner => At(24);

    /// <summary>The shape of a layer.</summary>
    /// <param name="layer">The layer.</param>
    public static (int, int, int, int, int, int, int, Nibble.Core.Compute.KvLayer, float, float) ShapeOf(PlainLayer layer) =>
        (layer.Output.Rows, layer.Query.Rows, layer.Key.Rows, layer.Value.Rows, layer.Output.Columns, layer.Down.Columns, layer.Heads, layer.Kv, layer.Scale, layer.SoftCap);

    /// <inheritdoc/>
    public void Dispose()
    {
        _memory.Dispose();
        Attention.Dispose();
    }

    private Matrix At(int index) => _matrices[index].Top(Tokens);
}
