using Nibble.Core.Compute;

namespace Nibble.Llm.Layers;

/// <summary>The matrices of a layer's experts, and their biases.</summary>
/// <param name="Weight">An expert each: [outputs x inputs].</param>
/// <param name="Bias">An expert a row: [outputs], or null.</param>
internal readonly record struct ExpertLinear(Weight Weight, Weight? Bias)
{
    /// <summary>y = weight of the expert times x, plus its bias.</summary>
    /// <param name="backend">What computes.</param>
    /// <param name="x">[tokens x inputs], or [tokens used x inputs].</param>
    /// <param name="ids">int32 [tokens x used].</param>
    /// <param name="y">[tokens used x outputs].</param>
    public void Apply(Backend backend, Tensor x, Tensor ids, Tensor y)
    {
        backend.MatMulExperts(x, Weight, ids, y);
        AddBias(backend, ids, y);
    }

    /// <summary>Adds the experts' biases, where there are some, to the matrices' products.</summary>
    /// <param name="backend">What computes.</param>
    /// <param name="ids">int32 [tokens x used].</param>
    /// <param name="y">[tokens used x outputs].</param>
    public void AddBias(Backend backend, Tensor ids, Tensor y)
    {
        if (Bias is not null) backend.AddExpertBias(y, Bias, ids);
    }
}

/// <summary>Mixture of experts: a router sends each token to a few networks and adds up their weighted outputs; a shared network may stand beside them.</summary>
internal sealed class ExpertFeedForward : FeedForward
{
    private Tensor _early;

    /// <summary>The activation.</summary>
    public required Activation Activation { get; init; }

    /// <summary>[experts x width].</summary>
    public required Linear Router { get; init; }

    /// <summary>Norm of what the router reads; null for what the experts read.</summary>
    public Norm? RouterNorm { get; init; }

    /// <summary>What the router's logits are multiplied by.</summary>
    public float RouterScale { get; init; } = 1;

    /// <summary>Norm of what the experts read, where the network is given the state itself; else null.</summary>
    public Norm? InputNorm { get; init; }

    /// <summary>Whether the router reads what the layer was given, before attention and without a norm.</summary>
    public bool IsRoutedEarly { get; init; }

    /// <summary>How the router's logits are used.</summary>
    public required Routing Routing { get; init; }

    /// <summary>[experts] added when experts are chosen, or null.</summary>
    public Weight? SelectionBias { get; init; }

    /// <summary>Whether the weights multiply the experts' inputs, not their outputs (Llama 4).</summary>
    public bool IsInputWeighted { get; init; }

    /// <summary>An expert each: [hidden x width]; null without a gate, or where it is the first half of <see cref="Up"/>.</summary>
    public ExpertLinear? Gate { get; init; }

    /// <summary>Whether the first half of <see cref="Up"/> is the gate.</summary>
    public bool IsFused { get; init; }

    /// <summary>An expert each: [hidden x width], or fused [2 hidden x width].</summary>
    public required ExpertLinear Up { get; init; }

    /// <summary>An expert each: [width x hidden].</summary>
    public required ExpertLinear Down { get; init; }

    /// <summary>[low width x width] to what the experts read, where that is of low rank; else null.</summary>
    public Weight? LatentDown { get; init; }

    /// <summary>[width x low width] from what the experts of low rank give; else null.</summary>
    public Weight? LatentUp { get; init; }

    /// <summary>The network that every token goes through, or null.</summary>
    public FeedForward? Shared { get; init; }

    /// <summary>What the sum of the experts and the shared network is multiplied by.</summary>
    public float SumScale { get; init; } = 1;

    /// <summary>[1 x width] whose sigmoid weighs the shared network, or null.</summary>
    public Weight? SharedGate { get; init; }

    /// <inheritdoc/>
    public override int WorkColumns
    {
        get
        {
            int width = Down.Weight.Rows, used = Routing.Used;
            return (RouterNorm is null ? 0 : width) + (InputNorm is null ? 0 : width) + Router.Weight.Rows + used + (used * (Up.Weight.Rows + (Gate?.Weight.Rows ?? 0) + width))
                + (IsInputWeighted ? used * Up.Weight.Columns : 0) + (LatentUp is null ? 0 : 2 * width) + (Shared is null ? 0 : Shared.WorkColumns + Router.Weight.Columns + 1);
        }
    }

    /// <inheritdoc/>
    public override int IdColumns => Routing.Used + (Shared?.IdColumns ?? 0);

    /// <inheritdoc/>
    public override void Prepare(in Step step, Tensor state)
    {
        if (!IsRoutedEarly) return;
        _early = step.Scratch.Take(state.Rows, Router.Weight.Rows);
        Router.Apply(step.Backend, state, _early);
    }

    /// <inheritdoc/>
    public override void Run(in Step step, in NormedInput given, Tensor y)
    {
        Backend backend = step.Backend;
        Scratch scratch = step.Scratch;
        Tensor x = given.Value(backend);
        int used = Routing.Used, products = x.Rows * used, hidden = Down.Weight.Columns;
        Tensor logits = _early;
        Tensor routed = Normed(step, RouterNorm, x);
        x = Normed(step, InputNorm, x);
        if (!IsRoutedEarly)
        {
            logits = scratch.Take(x.Rows, Router.Weight.Rows);
            Router.Apply(backend, RouterNorm is null ? x : routed, logits);
            if (RouterScale != 1) backend.Scale(logits, RouterScale, logits);
        }

        Tensor ids = scratch.TakeIds(x.Rows, used);
        Tensor weights = scratch.Take(x.Rows, used);
        backend.Route(logits, Routing, SelectionBias, ids, weights);
        Tensor input = x, mixed = y;
        if (LatentDown is not null)
        {
            input = scratch.Take(x.Rows, LatentDown.Rows);
            mixed = scratch.Take(x.Rows, LatentDown.Rows);
            backend.MatMul(x, LatentDown, input);
        }

        if (IsInputWeighted)
        {
            input = scratch.Take(products, x.Columns);
            for (int i = 0; i < used; i++)
                backend.Combine(x, weights.SliceColumns(i, 1), EveryRow(input, i, used));
        }

        Tensor up = scratch.Take(products, Up.Weight.Rows);
        Up.Apply(backend, input, ids, up);
        Tensor inner = up.SliceColumns(0, hidden);
        if (Gate is { } gate)
        {
            inner = scratch.Take(products, hidden);
            gate.Apply(backend, input, ids, inner);
        }
        else if (IsFused)
        {
            up = up.SliceColumns(hidden, hidden);
        }

        Tensor output = scratch.Take(products, Down.Weight.Rows);
        if (Gate is not null || IsFused)
        {
            backend.MatMulExpertsGated(Activation, inner, up, inner, Down.Weight, ids, output);
        }
        else
        {
            backend.Activate(Activation, inner, inner);
            backend.MatMulExperts(inner, Down.Weight, ids, output);
        }

        Down.AddBias(backend, ids, output);
        if (IsInputWeighted)
        {
            backend.Copy(EveryRow(output, 0, used), y);
            for (int i = 1; i < used; i++)
                backend.Add(y, EveryRow(output, i, used), y);
        }
        else backend.Combine(output, weights, mixed);

        if (LatentUp is not null) backend.MatMul(mixed, LatentUp, y);
        if (Shared is not null) AddShared(step, x, y);
        if (SumScale != 1) backend.Scale(y, SumScale, y);
    }

    private static Tensor Normed(in Step step, Norm? norm, Tensor x) =>
        norm is null ? x : new NormedInput(x, norm, step.Scratch.Take(x.Rows, x.Columns)).Value(step.Backend);

    private static Tensor EveryRow(Tensor x, int first, int step) => new(x.Buffer, x.Offset + ((long)first * x.Stride), x.Rows / step, x.Columns, x.Stride * step);

    private void AddShared(in Step step, Tensor x, Tensor y)
    {
        Tensor output = step.Scratch.Take(x.Rows, y.Columns);
        Shared!.Run(step, new NormedInput(x), output);
        if (SharedGate is not null)
        {
            Tensor gate = step.Scratch.Take(x.Rows, 1);
            step.Backend.MatMul(x, SharedGate, gate);
            step.Backend.Activate(Activation.Sigmoid, gate, gate);
            step.Backend.Combine(output, gate, output);
        }

        step.Backend.Add(y, output, y);
    }
}
