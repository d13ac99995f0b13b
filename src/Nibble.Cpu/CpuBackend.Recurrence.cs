using Nibble.Core.Compute;

namespace Nibble.Cpu;

/// <content>The recurrent operations.</content>
public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    public override void DeltaRule(Tensor queries, Tensor keys, Tensor values, Tensor steps, Weight rates, Tensor betas, bool isInterleaved, Tensor state, Tensor y)
    {
        (_, int keyHeads, _, _) = Shapes.CheckDeltaRule(queries, keys, values, steps, rates, betas, state, y);
        using Call call = Enter();
        _deltaRule.Prepare(queries, keys, values, steps, CpuWeight.Of(rates).Vector, betas, isInterleaved, state, y, keyHeads);
        Start(_deltaRule, (long)queries.Rows * state.Rows * state.Columns * 2);
        foreach (Tensor tensor in (ReadOnlySpan<Tensor>)[queries, keys, values, steps, betas, state, y])
            GC.KeepAlive(tensor.Buffer);
    }

    /// <inheritdoc/>
    public override void StateSpaceScan(Tensor x, Tensor steps, Weight rates, Tensor inputs, Tensor outputs, Weight skips, Tensor state, Tensor y)
    {
        (_, int groups, _, _) = Shapes.CheckStateSpaceScan(x, steps, rates, inputs, outputs, skips, state, y);
        using Call call = Enter();
        _stateSpace.Prepare(x, steps, CpuWeight.Of(rates), inputs, outputs, CpuWeight.Of(skips).Vector, state, y, groups);
        Start(_stateSpace, (long)x.Rows * state.Rows * state.Columns * 2);
        foreach (Tensor tensor in (ReadOnlySpan<Tensor>)[x, steps, inputs, outputs, state, y])
            GC.KeepAlive(tensor.Buffer);
    }
}
