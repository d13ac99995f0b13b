using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using Nibble.Core.Formats;

namespace Nibble.Core.Compute;

/// <summary>The argument checks of the <see cref="Backend"/> operations, the same for every backend.</summary>
public static class Shapes
{
    /// <summary>Checks <see cref="Backend.Upload"/>.</summary>
    /// <exception cref="ArgumentException">There is another number of scales than of matrices.</exception>
    public static void CheckUpload(IWeightSource source, ReadOnlySpan<float> scales)
    {
        ArgumentNullException.ThrowIfNull(source);
        if (scales.Length != 0 && scales.Length != source.Matrices)
            throw new ArgumentException($"{source.Name} has {source.Matrices} matrices and {scales.Length} scales; there must be one scale a matrix, or none.", nameof(scales));
    }

    /// <summary>Checks <see cref="Backend.GetRows"/>.</summary>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The table has no such row.</exception>
    public static void CheckGetRows(Weight table, ReadOnlySpan<int> rows, Tensor y)
    {
        ArgumentNullException.ThrowIfNull(table);
        Expect(y, rows.Length, table.Columns);
        foreach (int row in rows)
            if ((uint)row >= (uint)table.Rows)
                throw new ArgumentOutOfRangeException(nameof(rows), $"row {row} is asked of {table.Name}, which has rows 0 to {table.Rows - 1}.");
    }

    /// <summary>Checks <see cref="Backend.MatMul(Tensor, Weight, Tensor)"/>.</summary>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public static void CheckMatMul(Tensor x, Weight weight, Tensor y)
    {
        ArgumentNullException.ThrowIfNull(weight);
        if (weight.Matrices != 1)
            throw new ArgumentException($"{weight.Name} holds {weight.Matrices} matrices; a plain product takes one.", nameof(weight));
        Expect(x, x.Rows, weight.Columns);
        Expect(y, x.Rows, weight.Rows);
    }

    /// <summary>Checks <see cref="Backend.MatMulExperts"/>.</summary>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public static void CheckMatMulExperts(Tensor x, Weight weight, Tensor experts, Tensor y)
    {
        ArgumentNullException.ThrowIfNull(weight);
        Expect(experts, experts.Rows, experts.Columns, ElementType.Int32);
        int products = checked(experts.Rows * experts.Columns);
        if (x.Rows != experts.Rows && x.Rows != products)
            throw new ArgumentException($"x has {x.Rows} rows; {experts.Rows} tokens with {experts.Columns} experts each need {experts.Rows} or {products}.", nameof(x));
        Expect(x, x.Rows, weight.Columns);
        Expect(y, products, weight.Rows);
    }

    /// <summary>Checks <see cref="Backend.RmsNorm"/>.</summary>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public static void CheckNorm(Tensor x, Weight? gain, Tensor y)
    {
        if (gain is not null) ExpectVector(gain, x.Columns);
        Expect(x, x.Rows, x.Columns);
        Expect(y, x.Rows, x.Columns);
    }

    /// <summary>Checks <see cref="Backend.Rope"/>.</summary>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public static void CheckRope(Tensor x, int headSize, int firstPosition, RopeTable rope)
    {
        ArgumentNullException.ThrowIfNull(rope);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(headSize);
        ArgumentOutOfRangeException.ThrowIfNegative(firstPosition);
        Expect(x, x.Rows, x.Columns);
        if (x.Columns % headSize != 0)
            throw new ArgumentException($"rows of {x.Columns} values are no whole number of heads of {headSize}.", nameof(headSize));
        if (rope.Frequencies.Length * 2 > headSize)
            throw new ArgumentException($"{rope.Frequencies.Length} pairs do not fit into a head of {headSize} values.", nameof(rope));
    }

    /// <summary>Checks <see cref="Backend.StoreKv"/>.</summary>
    /// <exception cref="ArgumentException">A shape does not fit, or a position lies outside the cache.</exception>
    public static void CheckStoreKv(Tensor keys, Tensor values, KvCache cache, int layer, int firstPosition)
    {
        KvLayer shape = CheckPositions(cache, layer, firstPosition, keys.Rows);
        Expect(keys, keys.Rows, shape.Heads * shape.KeySize);
        Expect(values, keys.Rows, shape.Heads * shape.ValueSize);
    }

    /// <summary>Checks <see cref="Backend.Attention"/>.</summary>
    /// <exception cref="ArgumentException">A shape does not fit, or a position lies outside the cache.</exception>
    public static void CheckAttention(Tensor queries, KvCache cache, int layer, int firstPosition, in AttentionOptions options, Tensor y)
    {
        KvLayer shape = CheckPositions(cache, layer, firstPosition, queries.Rows);
        if (options.Heads <= 0 || options.Heads % shape.Heads != 0)
            throw new ArgumentException($"{options.Heads} query heads cannot share {shape.Heads} KV heads; they must be a multiple.", nameof(options));
        Expect(queries, queries.Rows, options.Heads * shape.KeySize);
        Expect(y, queries.Rows, options.Heads * shape.ValueSize);
    }

    /// <summary>Checks that tensors have one shape.</summary>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public static void CheckSame(Tensor a, Tensor b, Tensor y)
    {
        Expect(a, a.Rows, a.Columns);
        Expect(b, a.Rows, a.Columns);
        Expect(y, a.Rows, a.Columns);
    }

    /// <summary>Checks <see cref="Backend.AddBias"/>.</summary>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public static void CheckAddBias(Tensor x, Weight bias)
    {
        ArgumentNullException.ThrowIfNull(bias);
        Expect(x, x.Rows, x.Columns);
        ExpectVector(bias, x.Columns);
    }

    /// <summary>Checks <see cref="Backend.Route"/>.</summary>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public static void CheckRoute(Tensor logits, in Routing routing, Tensor experts, Tensor weights)
    {
        Expect(logits, logits.Rows, logits.Columns);
        if (routing.Used <= 0 || routing.Used > logits.Columns)
            throw new ArgumentException($"{routing.Used} experts a token are asked of {logits.Columns}.", nameof(routing));
        Expect(experts, logits.Rows, routing.Used, ElementType.Int32);
        Expect(weights, logits.Rows, routing.Used);
    }

    /// <summary>Checks <see cref="Backend.Combine"/>.</summary>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public static void CheckCombine(Tensor x, Tensor weights, Tensor y)
    {
        Expect(weights, y.Rows, weights.Columns);
        Expect(x, checked(weights.Rows * weights.Columns), y.Columns);
        Expect(y, y.Rows, y.Columns);
    }

    /// <summary>Checks <see cref="Backend.Read"/> and <see cref="Backend.Write"/>.</summary>
    /// <exception cref="ArgumentException">The number of values differs.</exception>
    public static void CheckCopy(Tensor x, int length)
    {
        Expect(x, x.Rows, x.Columns);
        if ((long)x.Rows * x.Columns != length)
            throw new ArgumentException($"a tensor of [{x.Rows} x {x.Columns}] and a span of {length} values do not fit each other.", nameof(length));
    }

    /// <summary>Checks that a weight is one vector of a length.</summary>
    /// <exception cref="ArgumentException">It is not.</exception>
    public static void ExpectVector(Weight weight, int columns)
    {
        ArgumentNullException.ThrowIfNull(weight);
        if (weight.Matrices != 1 || weight.Rows != 1 || weight.Columns != columns)
            throw new ArgumentException($"{weight.Name} is [{weight.Columns} x {weight.Rows} x {weight.Matrices}]; a vector of {columns} values is needed.", nameof(weight));
    }

    private static KvLayer CheckPositions(KvCache cache, int layer, int firstPosition, int count)
    {
        ArgumentNullException.ThrowIfNull(cache);
        ArgumentOutOfRangeException.ThrowIfNegative(layer);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(layer, cache.Layers.Length);
        ArgumentOutOfRangeException.ThrowIfNegative(firstPosition);
        if (firstPosition > cache.Capacity - count)
            throw new ArgumentOutOfRangeException(nameof(firstPosition), $"positions {firstPosition} to {firstPosition + count - 1} do not fit into a KV cache of {cache.Capacity}.");
        return cache.Layers[layer];
    }

    private static void Expect(Tensor tensor, int rows, int columns, ElementType type = ElementType.Float32, [CallerArgumentExpression(nameof(tensor))] string name = "")
    {
        if (tensor.Buffer is null || tensor.Rows != rows || tensor.Columns != columns || tensor.Buffer.Type != type)
            ThrowShape(tensor, rows, columns, type, name);
    }

    [DoesNotReturn]
    private static void ThrowShape(Tensor tensor, int rows, int columns, ElementType type, string name) =>
        throw new ArgumentException(
            tensor.Buffer is null
                ? $"{name} has no memory; {type} [{rows} x {columns}] is needed."
                : $"{name} is {tensor.Buffer.Type} [{tensor.Rows} x {tensor.Columns}]; {type} [{rows} x {columns}] is needed.",
            name);
}
