using Nibble.Core.Compute;
using Nibble.Core.Memory;

namespace Nibble.Quantize.Gradients;

/// <summary>
/// Causal attention of one chunk, head by head, and its gradient: P = softmax(c(scale Q Kᵀ)), O = P V; dV = Pᵀ dO, dP = dO Vᵀ, dS = c' P (dP - rows' sums of P dP), dQ = scale dS K, dK = scale dSᵀ Q, with c(x) = x or cap tanh(x / cap).
/// On one thread; each thread has its own.
/// </summary>
internal sealed unsafe class AttentionGradient : IDisposable
{
    // Rows of queries that are looked at together: what lies behind their last position is left out.
    private const int RowBlock = 64;

    private readonly int _heads;
    private readonly KvLayer _kv;
    private readonly float _scale;
    private readonly float _cap;
    private readonly int _positions;
    private readonly NativeBuffer _memory;
    private readonly float* _weights;
    private readonly float* _gradients;
    private readonly float* _slopes;
    private readonly float* _keysAcross;
    private readonly float* _keys;
    private readonly float* _valuesAcross;
    private readonly float* _values;
    private readonly float* _queries;
    private readonly float* _outputs;

    /// <summary>Makes room.</summary>
    /// <param name="heads">Query heads.</param>
    /// <param name="kv">KV heads, their sizes and the window.</param>
    /// <param name="scale">What products are multiplied by.</param>
    /// <param name="cap">What scores are capped at; 0 for not.</param>
    /// <param name="positions">Positions of a chunk at most.</param>
    public AttentionGradient(int heads, KvLayer kv, float scale, float cap, int positions)
    {
        _heads = heads;
        _kv = kv;
        _scale = scale;
        _cap = cap;
        _positions = positions;
        long square = Padded((long)positions * positions);
        long keysAcross = Padded(MatrixProduct.PanelFloats(kv.KeySize, positions)), keys = Padded(MatrixProduct.PanelFloats(positions, kv.KeySize));
        long valuesAcross = Padded(MatrixProduct.PanelFloats(kv.ValueSize, positions)), values = Padded(MatrixProduct.PanelFloats(positions, kv.ValueSize));
        _memory = new NativeBuffer(sizeof(float) * (((cap == 0 ? 2 : 3) * square) + keysAcross + keys + valuesAcross + values + keys + values), isZeroed: false);
        _weights = (float*)_memory.Pointer;
        _gradients = _weights + square;
        _keysAcross = _gradients + square;
        _keys = _keysAcross + keysAcross;
        _valuesAcross = _keys + keys;
        _values = _valuesAcross + valuesAcross;
        _queries = _values + values;
        _outputs = _queries + keys;
        _slopes = cap == 0 ? null : _outputs + values;
    }

    /// <summary>Attention.</summary>
    /// <param name="queries">[positions x heads of key size], turned.</param>
    /// <param name="keys">[positions x KV heads of key size], turned.</param>
    /// <param name="values">[positions x KV heads of value size].</param>
    /// <param name="attended">[positions x heads of value size], overwritten.</param>
    public void Forward(Matrix queries, Matrix keys, Matrix values, Matrix attended)
    {
        for (int head = 0; head < _heads; head++)
        {
            PackKv(keys, values, head, isBackward: false);
            float* output = attended.Values + ((long)head * _kv.ValueSize);
            for (int first = 0; first < queries.Rows; first += RowBlock)
            {
                (int start, int end) = Weigh(queries, head, first);
                MatrixProduct.Multiply(
                    WeightsAt(first, start), _positions, 1, end - first, _values + ((long)start * MatrixProduct.PanelColumns), queries.Rows, end - start, _kv.ValueSize,
                    output + ((long)first * attended.Columns), attended.Columns, add: false);
            }
        }
    }

    /// <summary>The gradients at what <see cref="Forward"/> was given.</summary>
    /// <param name="queries">[positions x heads of key size], turned.</param>
    /// <param name="keys">[positions x KV heads of key size], turned.</param>
    /// <param name="values">[positions x KV heads of value size].</param>
    /// <param name="attended">[positions x heads of value size] the gradient at the output.</param>
    /// <param name="queryGradient">As the queries, overwritten.</param>
    /// <param name="keyGradient">As the keys, overwritten.</param>
    /// <param name="valueGradient">As the values, overwritten.</param>
    public void Backward(Matrix queries, Matrix keys, Matrix values, Matrix attended, Matrix queryGradient, Matrix keyGradient, Matrix valueGradient)
    {
        int positions = queries.Rows, keySize = _kv.KeySize, valueSize = _kv.ValueSize;
        keyGradient.Span.Clear();
        valueGradient.Span.Clear();
        for (int head = 0; head < _heads; head++)
        {
            int group = head / (_heads / _kv.Heads);
            PackKv(keys, values, head, isBackward: true);
            float* query = queries.Values + ((long)head * keySize), output = attended.Values + ((long)head * valueSize);
            MatrixProduct.Pack(query, queries.Columns, 1, positions, keySize, _queries);
            MatrixProduct.Pack(output, attended.Columns, 1, positions, valueSize, _outputs);
            float* queryOut = queryGradient.Values + ((long)head * keySize);
            float* keyOut = keyGradient.Values + ((long)group * keySize), valueOut = valueGradient.Values + ((long)group * valueSize);
            for (int first = 0; first < positions; first += RowBlock)
            {
                (int start, int end) = Weigh(queries, head, first);
                int rows = end - first, seen = end - start;
                float* weights = WeightsAt(first, start), gradients = _gradients + ((long)first * _positions) + start;
                // dV += Pᵀ dO of these rows.
                MatrixProduct.Multiply(
                    weights, 1, _positions, seen, _outputs + ((long)first * MatrixProduct.PanelColumns), positions, rows, valueSize, valueOut + ((long)start * valueGradient.Columns), valueGradient.Columns, add: true);
                MatrixProduct.Multiply(
                    output + ((long)first * attended.Columns), attended.Columns, 1, rows, _valuesAcross + ((long)start * valueSize), valueSize, valueSize, seen, gradients, _positions, add: false);
                for (int i = 0; i < rows; i++)
                {
                    ReadOnlySpan<float> weight = new(weights + ((long)i * _positions), seen);
                    Span<float> gradient = new(gradients + ((long)i * _positions), seen);
                    float mean = RowMath.Dot(weight, gradient);
                    for (int j = 0; j < seen; j++)
                        gradient[j] = weight[j] * (gradient[j] - mean) * _scale;
                    if (_cap == 0) continue;
                    float* slopes = SlopesAt(first + i, start);
                    for (int j = 0; j < seen; j++)
                        gradient[j] *= weight[j] == 0 ? 0 : slopes[j];
                }

                MatrixProduct.Multiply(
                    gradients, _positions, 1, rows, _keys + ((long)start * MatrixProduct.PanelColumns), positions, seen, keySize, queryOut + ((long)first * queryGradient.Columns), queryGradient.Columns, add: false);
                MatrixProduct.Multiply(
                    gradients, 1, _positions, seen, _queries + ((long)first * MatrixProduct.PanelColumns), positions, rows, keySize, keyOut + ((long)start * keyGradient.Columns), keyGradient.Columns, add: true);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _memory.Dispose();

    private static long Padded(long floats) => (floats + 15) / 16 * 16;

    private float* WeightsAt(int row, int column) => _weights + ((long)row * _positions) + column;

    private float* SlopesAt(int row, int column) => _slopes + ((long)row * _positions) + column;

    private void PackKv(Matrix keys, Matrix values, int head, bool isBackward)
    {
        int group = head / (_heads / _kv.Heads);
        // Heads of a group read the same keys and values.
        if (head % (_heads / _kv.Heads) != 0) return;
        float* key = keys.Values + ((long)group * _kv.KeySize), value = values.Values + ((long)group * _kv.ValueSize);
        MatrixProduct.Pack(key, 1, keys.Columns, _kv.KeySize, keys.Rows, _keysAcross);
        if (!isBackward)
        {
            MatrixProduct.Pack(value, values.Columns, 1, values.Rows, _kv.ValueSize, _values);
            return;
        }

        MatrixProduct.Pack(key, keys.Columns, 1, keys.Rows, _kv.KeySize, _keys);
        MatrixProduct.Pack(value, 1, values.Columns, _kv.ValueSize, values.Rows, _valuesAcross);
    }

    // The weights of a block of rows, and the positions that it sees: from a whole panel's start to its last row. Those that a row does not see get 0.
    private (int Start, int End) Weigh(Matrix queries, int head, int first)
    {
        int end = Math.Min(first + RowBlock, queries.Rows), start = _kv.FirstVisible(first) / MatrixProduct.PanelColumns * MatrixProduct.PanelColumns;
        MatrixProduct.Multiply(
            queries.Values + ((long)first * queries.Columns) + ((long)head * _kv.KeySize), queries.Columns, 1, end - first, _keysAcross + ((long)start * _kv.KeySize), _kv.KeySize, _kv.KeySize, end - start,
            WeightsAt(first, start), _positions, add: false);
        for (int row = first; row < end; row++)
        {
            Span<float> scores = new(WeightsAt(row, start), end - start);
            int visible = _kv.FirstVisible(row) - start;
            Span<float> seen = scores[visible..(row + 1 - start)];
            RowMath.Scale(seen, _scale, seen);
            if (_cap != 0) RowMath.SoftCap(seen, _cap, new Span<float>(SlopesAt(row, start + visible), seen.Length));
            RowMath.Softmax(seen);
            scores[..visible].Clear();
            scores[(row + 1 - start)..].Clear();
        }

        return (start, end);
    }
}
