namespace Nibble.Core.Compute;

/// <content>The operations: each finds its side, and gives its arguments as they are there.</content>
public sealed partial class SplitBackend
{
    /// <inheritdoc/>
    public override void GetRows(Weight table, ReadOnlySpan<int> rows, Tensor y)
    {
        SplitWeight weight = SplitWeight.Of(table);
        Sides side = weight.Has(Sides.Host) ? Sides.Host : weight.Home;
        On(side).GetRows(weight.On(side), rows, Out(side, y));
    }

    /// <inheritdoc/>
    public override void MatMul(Tensor x, Weight weight, Tensor y)
    {
        Sides side = At(weight);
        On(side).MatMul(In(side, x), W(side, weight), Out(side, y));
    }

    /// <inheritdoc/>
    public override void MatMul(Tensor x, ReadOnlySpan<Weight> weights, ReadOnlySpan<Tensor> y)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(y.Length, weights.Length);
        if (weights.IsEmpty) return;
        Sides side = At(weights[0]);
        if (_weights.Length < weights.Length) (_weights, _outputs) = (new Weight[weights.Length], new Tensor[weights.Length]);
        for (int i = 0; i < weights.Length; i++)
        {
            if (SplitWeight.Of(weights[i]).Home == side) continue;
            base.MatMul(x, weights, y);
            return;
        }

        Tensor input = In(side, x);
        for (int i = 0; i < weights.Length; i++)
            (_weights[i], _outputs[i]) = (W(side, weights[i]), Out(side, y[i]));
        On(side).MatMul(input, _weights.AsSpan(0, weights.Length), _outputs.AsSpan(0, weights.Length));
    }

    /// <inheritdoc/>
    public override void MatMulExperts(Tensor x, Weight weight, Tensor experts, Tensor y)
    {
        Sides side = At(weight);
        On(side).MatMulExperts(In(side, x), W(side, weight), In(side, experts), Out(side, y));
    }

    /// <inheritdoc/>
    public override void Norm(Tensor x, in NormOptions options, Weight? gain, Weight? bias, Tensor y)
    {
        Sides side = gain is not null ? At(gain) : bias is not null ? At(bias) : At(x);
        On(side).Norm(In(side, x), options, WOrNull(side, gain), WOrNull(side, bias), Out(side, y));
    }

    /// <inheritdoc/>
    public override void Rope(Tensor x, int headSize, int firstPosition, RopeTable rope)
    {
        Sides side = At(x);
        On(side).Rope(InOut(side, x), headSize, firstPosition, rope);
    }

    /// <inheritdoc/>
    public override void StoreKv(Tensor keys, Tensor values, KvCache cache, int layer, int firstPosition)
    {
        (Sides side, KvCache own, int index) = SplitKvCache.Of(cache).Place(layer);
        On(side).StoreKv(In(side, keys), In(side, values), own, index, firstPosition);
    }

    /// <inheritdoc/>
    public override void Attention(Tensor queries, KvCache cache, int layer, int firstPosition, in AttentionOptions options, Tensor y)
    {
        (Sides side, KvCache own, int index) = SplitKvCache.Of(cache).Place(layer);
        On(side).Attention(In(side, queries), own, index, firstPosition, options with { Sinks = WOrNull(side, options.Sinks) }, Out(side, y));
    }

    /// <inheritdoc/>
    public override void Activate(Activation activation, Tensor x, Tensor y)
    {
        Sides side = At(x);
        On(side).Activate(activation, In(side, x), Out(side, y));
    }

    /// <inheritdoc/>
    public override void GatedActivation(Activation activation, Tensor gate, Tensor up, Tensor y)
    {
        Sides side = At(gate, up);
        On(side).GatedActivation(activation, In(side, gate), In(side, up), Out(side, y));
    }

    /// <inheritdoc/>
    public override void Add(Tensor a, Tensor b, Tensor y)
    {
        Sides side = At(a, b);
        On(side).Add(In(side, a), In(side, b), Out(side, y));
    }

    /// <inheritdoc/>
    public override void AddBias(Tensor x, Weight bias)
    {
        Sides side = At(bias);
        On(side).AddBias(InOut(side, x), W(side, bias));
    }

    /// <inheritdoc/>
    public override void AddExpertBias(Tensor x, Weight biases, Tensor experts)
    {
        Sides side = At(biases);
        On(side).AddExpertBias(InOut(side, x), W(side, biases), In(side, experts));
    }

    /// <inheritdoc/>
    public override void Scale(Tensor x, float factor, Tensor y)
    {
        Sides side = At(x);
        On(side).Scale(In(side, x), factor, Out(side, y));
    }

    /// <inheritdoc/>
    public override void Clamp(Tensor x, float limit, Tensor y)
    {
        Sides side = At(x);
        On(side).Clamp(In(side, x), limit, Out(side, y));
    }

    /// <inheritdoc/>
    public override void SoftCap(Tensor x, float cap, Tensor y)
    {
        Sides side = At(x);
        On(side).SoftCap(In(side, x), cap, Out(side, y));
    }

    /// <inheritdoc/>
    public override void Convolve(Tensor x, Weight kernel, Weight? bias, Activation activation, Tensor state, Tensor y)
    {
        Sides side = At(kernel);
        On(side).Convolve(In(side, x), W(side, kernel), WOrNull(side, bias), activation, InOut(side, state), Out(side, y));
    }

    /// <inheritdoc/>
    public override void DeltaRule(Tensor queries, Tensor keys, Tensor values, Tensor steps, Weight rates, Tensor betas, bool isInterleaved, Tensor state, Tensor y)
    {
        Sides side = At(rates);
        On(side).DeltaRule(In(side, queries), In(side, keys), In(side, values), In(side, steps), W(side, rates), In(side, betas), isInterleaved, InOut(side, state), Out(side, y));
    }

    /// <inheritdoc/>
    public override void StateSpaceScan(Tensor x, Tensor steps, Weight rates, Tensor inputs, Tensor outputs, Weight skips, Tensor state, Tensor y)
    {
        Sides side = At(rates);
        On(side).StateSpaceScan(In(side, x), In(side, steps), W(side, rates), In(side, inputs), In(side, outputs), W(side, skips), InOut(side, state), Out(side, y));
    }

    /// <inheritdoc/>
    public override void Route(Tensor logits, in Routing routing, Weight? bias, Tensor experts, Tensor weights)
    {
        Sides side = bias is not null ? At(bias) : At(logits);
        On(side).Route(In(side, logits), routing, WOrNull(side, bias), Out(side, experts), Out(side, weights));
    }

    /// <inheritdoc/>
    public override void Combine(Tensor x, Tensor weights, Tensor y)
    {
        Sides side = At(x, weights);
        On(side).Combine(In(side, x), In(side, weights), Out(side, y));
    }

    /// <inheritdoc/>
    public override void Write(ReadOnlySpan<float> values, Tensor y)
    {
        Sides side = Only(y);
        On(side).Write(values, Out(side, y));
    }

    /// <inheritdoc/>
    public override void Write(ReadOnlySpan<int> values, Tensor y)
    {
        Sides side = Only(y);
        On(side).Write(values, Out(side, y));
    }

    /// <inheritdoc/>
    public override void Copy(Tensor x, Tensor y)
    {
        Sides side = At(x);
        On(side).Copy(In(side, x), Out(side, y));
    }

    /// <inheritdoc/>
    public override void Read(Tensor x, Span<float> values)
    {
        Sides side = At(x);
        On(side).Read(In(side, x), values);
    }

    /// <inheritdoc/>
    public override void Read(Tensor x, Span<int> values)
    {
        Sides side = At(x);
        On(side).Read(In(side, x), values);
    }

    private static Tensor In(Sides side, Tensor x) => SplitBuffer.Of(x).Read(side, x);

    private static Tensor Out(Sides side, Tensor y) => SplitBuffer.Of(y).Write(side, y);

    private static Tensor InOut(Sides side, Tensor x)
    {
        SplitBuffer.Of(x).Read(side, x);
        return SplitBuffer.Of(x).Write(side, x);
    }

    private static Weight W(Sides side, Weight weight) => SplitWeight.Of(weight).On(side);

    private static Weight? WOrNull(Sides side, Weight? weight) => weight is null ? null : W(side, weight);

    // Memory that nothing used yet is best the host's, which has more of it.
    private static Sides Only(Tensor y) => SplitBuffer.Of(y).Allocated == Sides.Device ? Sides.Device : Sides.Host;

    private Sides At(Weight weight) => _current = SplitWeight.Of(weight).Home;

    private Sides At(Tensor x) => One(SplitBuffer.Of(x).Fresh(x));

    private Sides At(Tensor x, Tensor y) => One(SplitBuffer.Of(x).Fresh(x) & SplitBuffer.Of(y).Fresh(y));

    // Where there is a choice, where the work was last.
    private Sides One(Sides sides) => sides is Sides.Host or Sides.Device ? sides : _current;
}
