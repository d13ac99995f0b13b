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

    /// <summary>Checks <see cref="Backend.Norm"/>.</summary>
    /// <returns>Columns that are normed together.</returns>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public static int CheckNorm(Tensor x, in NormOptions options, Weight? gain, Weight? bias, Tensor y)
    {
        Expect(x, x.Rows, x.Columns);
        Expect(y, x.Rows, x.Columns);
        int size = options.Size == 0 ? x.Columns : options.Size;
        if (size < 0 || (x.Columns > 0 && x.Columns % size != 0))
            throw new ArgumentException($"rows of {x.Columns} values are no whole number of groups of {options.Size}.", nameof(options));
        foreach (Weight? vector in (ReadOnlySpan<Weight?>)[gain, bias])
            if (vector is not null && (vector.Matrices != 1 || ((long)vector.Rows * vector.Columns != size && (long)vector.Rows * vector.Columns != x.Columns)))
                ExpectVector(vector, x.Columns);
        return size;
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
        if (rope.Offset + (rope.Pairs * 2) > headSize)
            throw new ArgumentException($"{rope.Pairs} pairs from value {rope.Offset} on do not fit into a head of {headSize} values.", nameof(rope));
    }

    /// <summary>Checks <see cref="Backend.StoreKv"/>.</summary>
    /// <exception cref="ArgumentException">A shape does not fit, or a position lies outside the cache.</exception>
    public static void CheckStoreKv(Tensor keys, Tensor values, KvCache cache, int layer, int firstPosition)
    {
        KvLayer shape = CheckPositions(cache, layer, firstPosition, keys.Rows);
        if (keys.Rows > cache.Batch)
            throw new ArgumentException($"{keys.Rows} tokens are stored at a time; the cache was made for {cache.Batch}.", nameof(keys));
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
        if (queries.Rows > cache.Batch)
            throw new ArgumentException($"{queries.Rows} tokens are asked for; the cache was made for {cache.Batch}.", nameof(queries));
        if (options.SoftCap < 0)
            throw new ArgumentException($"the cap of the scores is {options.SoftCap}; it must be 0 or more.", nameof(options));
        if (options.Sinks is not null) ExpectVector(options.Sinks, options.Heads);
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

    /// <summary>Checks <see cref="Backend.AddExpertBias"/>.</summary>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public static void CheckAddExpertBias(Tensor x, Weight biases, Tensor experts)
    {
        ArgumentNullException.ThrowIfNull(biases);
        Expect(experts, experts.Rows, experts.Columns, ElementType.Int32);
        Expect(x, checked(experts.Rows * experts.Columns), biases.Columns);
        if (biases.Matrices != 1)
            throw new ArgumentException($"{biases.Name} holds {biases.Matrices} matrices; biases are one, with a row an expert.", nameof(biases));
    }

    /// <summary>Checks <see cref="Backend.Activate"/>.</summary>
    /// <exception cref="ArgumentException">A shape does not fit, or the activation needs a gate.</exception>
    public static void CheckActivate(Activation activation, Tensor x, Tensor y)
    {
        if (activation == Activation.SwigluOai)
            throw new ArgumentException($"{activation} has no form without a gate.", nameof(activation));
        CheckSame(x, x, y);
    }

    /// <summary>Checks <see cref="Backend.Convolve"/>.</summary>
    /// <exception cref="ArgumentException">A shape does not fit, or the activation needs a gate.</exception>
    public static void CheckConvolve(Tensor x, Weight kernel, Weight? bias, Activation activation, Tensor state, Tensor y)
    {
        ArgumentNullException.ThrowIfNull(kernel);
        CheckActivate(activation, x, y);
        if (kernel.Matrices != 1 || kernel.Rows != x.Columns)
            throw new ArgumentException($"{kernel.Name} is [{kernel.Columns} x {kernel.Rows} x {kernel.Matrices}]; a kernel for each of {x.Columns} channels is needed.", nameof(kernel));
        if (bias is not null) ExpectVector(bias, x.Columns);
        Expect(state, kernel.Columns - 1, x.Columns);
    }

    /// <summary>Checks <see cref="Backend.DeltaRule"/>.</summary>
    /// <returns>Heads, key heads, key size and value size.</returns>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public static (int Heads, int KeyHeads, int KeySize, int ValueSize) CheckDeltaRule(
        Tensor queries, Tensor keys, Tensor values, Tensor steps, Weight rates, Tensor betas, Tensor state, Tensor y)
    {
        int tokens = queries.Rows, heads = Math.Max(1, betas.Columns), keySize = Math.Max(1, state.Columns), valueSize = state.Rows / heads;
        int keyHeads = Math.Max(1, keys.Columns / keySize);
        if (heads % keyHeads != 0)
            throw new ArgumentException($"{heads} heads cannot share {keyHeads} key heads; they must be a multiple.", nameof(betas));
        Expect(queries, tokens, keyHeads * keySize);
        Expect(keys, tokens, keyHeads * keySize);
        Expect(values, tokens, heads * valueSize);
        Expect(steps, tokens, steps.Columns == heads ? heads : heads * keySize);
        ExpectValues(rates, heads);
        Expect(betas, tokens, heads);
        Expect(state, heads * valueSize, keySize);
        Expect(y, tokens, heads * valueSize);
        return (heads, keyHeads, keySize, valueSize);
    }

    /// <summary>Checks <see cref="Backend.StateSpaceScan"/>.</summary>
    /// <returns>Heads, groups, head size and state size.</returns>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public static (int Heads, int Groups, int HeadSize, int StateSize) CheckStateSpaceScan(
        Tensor x, Tensor steps, Weight rates, Tensor inputs, Tensor outputs, Weight skips, Tensor state, Tensor y)
    {
        ArgumentNullException.ThrowIfNull(rates);
        int tokens = x.Rows, heads = Math.Max(1, steps.Columns), stateSize = Math.Max(1, state.Columns), headSize = state.Rows / heads;
        int groups = Math.Max(1, inputs.Columns / stateSize);
        if (heads % groups != 0)
            throw new ArgumentException($"{heads} heads cannot share {groups} groups; they must be a multiple.", nameof(steps));
        Expect(x, tokens, heads * headSize);
        Expect(steps, tokens, heads);
        if (rates.Matrices != 1 || rates.Rows != heads || rates.Columns != stateSize) ExpectValues(rates, heads);
        Expect(inputs, tokens, groups * stateSize);
        Expect(outputs, tokens, groups * stateSize);
        ExpectValues(skips, heads);
        Expect(state, heads * headSize, stateSize);
        Expect(y, tokens, heads * headSize);
        return (heads, groups, headSize, stateSize);
    }

    /// <summary>Checks <see cref="Backend.Route"/>.</summary>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public static void CheckRoute(Tensor logits, in Routing routing, Weight? bias, Tensor experts, Tensor weights)
    {
        if (bias is not null) ExpectVector(bias, logits.Columns);
        if (routing.Groups > 1)
        {
            if (logits.Columns % routing.Groups != 0 || routing.GroupsUsed < 1 || routing.GroupsUsed > routing.Groups)
                throw new ArgumentException($"{routing.GroupsUsed} of {routing.Groups} groups are asked of {logits.Columns} experts.", nameof(routing));
            if (routing.Used > routing.GroupsUsed * (logits.Columns / routing.Groups))
                throw new ArgumentException($"{routing.Used} experts a token are asked of {routing.GroupsUsed} groups of {logits.Columns / routing.Groups}.", nameof(routing));
        }

        Expect(logits, logits.Rows, logits.Columns);
        if (routing.Used <= 0 || routing.Used > logits.Columns)
            throw new ArgumentException($"{routing.Used} experts a token are asked of {logits.Columns}.", nameof(routing));
        Expect(experts, logits.Rows, routing.Used, ElementType.Int32);
        Expect(weights, logits.Rows, routing.Used);
    }

    /// <summary>Checks <see cref="Backend.TopK"/>.</summary>
    /// <returns>How many are asked of a row.</returns>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public static int CheckTopK(Tensor x, Tensor columns, Tensor values)
    {
        Expect(x, x.Rows, x.Columns);
        if (columns.Columns < 1 || columns.Columns > x.Columns)
            throw new ArgumentException($"the {columns.Columns} highest of {x.Columns} values are asked for; ask for 1 to {x.Columns}.", nameof(columns));
        Expect(columns, x.Rows, columns.Columns, ElementType.Int32);
        Expect(values, x.Rows, columns.Columns);
        return columns.Columns;
    }

    /// <summary>Checks <see cref="Backend.Combine"/>.</summary>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public static void CheckCombine(Tensor x, Tensor weights, Tensor y)
    {
        Expect(weights, y.Rows, weights.Columns);
        Expect(x, checked(weights.Rows * weights.Columns), y.Columns);
        Expect(y, y.Rows, y.Columns);
    }

    /// <summary>Checks <see cref="Backend.Read(Tensor, Span{float})"/> and <see cref="Backend.Write(ReadOnlySpan{float}, Tensor)"/>.</summary>
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

    /// <summary>Checks <see cref="Backend.Write(ReadOnlySpan{int}, Tensor)"/> and <see cref="Backend.Read(Tensor, Span{int})"/>.</summary>
    /// <exception cref="ArgumentException">The number of values differs.</exception>
    public static void CheckCopyIds(Tensor y, int length)
    {
        Expect(y, y.Rows, y.Columns, ElementType.Int32);
        if ((long)y.Rows * y.Columns != length)
            throw new ArgumentException($"a tensor of [{y.Rows} x {y.Columns}] and a span of {length} values do not fit each other.", nameof(length));
    }

    private static void ExpectValues(Weight weight, int count, [CallerArgumentExpression(nameof(weight))] string name = "")
    {
        ArgumentNullException.ThrowIfNull(weight, name);
        if (weight.Matrices != 1 || (weight.Rows != 1 && weight.Columns != 1) || (long)weight.Rows * weight.Columns != count)
            throw new ArgumentException($"{weight.Name} is [{weight.Columns} x {weight.Rows} x {weight.Matrices}]; {count} values are needed.", name);
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
