using Nibble.Core.Compute;

namespace Nibble.Llm.Layers;

/// <summary>The part of a layer after attention.</summary>
internal abstract class FeedForward
{
    /// <summary>y = network of x.</summary>
    /// <param name="backend">What computes.</param>
    /// <param name="scratch">Memory.</param>
    /// <param name="x">[tokens x width], normed.</param>
    /// <param name="y">[tokens x width], overwritten.</param>
    public abstract void Run(Backend backend, Scratch scratch, Tensor x, Tensor y);
}

/// <summary>down(activation(gate x) up x).</summary>
internal sealed class GatedFeedForward : FeedForward
{
    /// <summary>The activation.</summary>
    public required Activation Activation { get; init; }

    /// <summary>[hidden x width].</summary>
    public required Linear Gate { get; init; }

    /// <summary>[hidden x width].</summary>
    public required Linear Up { get; init; }

    /// <summary>[width x hidden].</summary>
    public required Linear Down { get; init; }

    /// <inheritdoc/>
    public override void Run(Backend backend, Scratch scratch, Tensor x, Tensor y)
    {
        Tensor gate = scratch.Gate.SliceRows(0, x.Rows).SliceColumns(0, Gate.Weight.Rows);
        Tensor up = scratch.Up.SliceRows(0, x.Rows).SliceColumns(0, Up.Weight.Rows);
        backend.MatMul(x, [Gate.Weight, Up.Weight], [gate, up]);
        Gate.AddBias(backend, gate);
        Up.AddBias(backend, up);
        backend.GatedActivation(Activation, gate, up, gate);
        Down.Apply(backend, gate, y);
    }
}

/// <summary>Mixture of experts: a router sends each token to a few gated networks and adds up their weighted outputs.</summary>
internal sealed class ExpertFeedForward : FeedForward
{
    /// <summary>The activation.</summary>
    public required Activation Activation { get; init; }

    /// <summary>[experts x width].</summary>
    public required Weight Router { get; init; }

    /// <summary>How the router's logits are used.</summary>
    public required Routing Routing { get; init; }

    /// <summary>An expert each: [hidden x width].</summary>
    public required Weight Gate { get; init; }

    /// <summary>An expert each: [hidden x width].</summary>
    public required Weight Up { get; init; }

    /// <summary>An expert each: [width x hidden].</summary>
    public required Weight Down { get; init; }

    /// <inheritdoc/>
    public override void Run(Backend backend, Scratch scratch, Tensor x, Tensor y)
    {
        int products = x.Rows * Routing.Used;
        Tensor logits = scratch.Router.SliceRows(0, x.Rows);
        Tensor ids = scratch.ExpertIds.SliceRows(0, x.Rows);
        Tensor weights = scratch.ExpertWeights.SliceRows(0, x.Rows);
        Tensor gate = scratch.ExpertGate.SliceRows(0, products).SliceColumns(0, Gate.Rows);
        Tensor up = scratch.ExpertUp.SliceRows(0, products).SliceColumns(0, Up.Rows);
        Tensor output = scratch.ExpertOutput.SliceRows(0, products);
        backend.MatMul(x, Router, logits);
        backend.Route(logits, Routing, ids, weights);
        backend.MatMulExperts(x, Gate, ids, gate);
        backend.MatMulExperts(x, Up, ids, up);
        backend.GatedActivation(Activation, gate, up, gate);
        backend.MatMulExperts(gate, Down, ids, output);
        backend.Combine(output, weights, y);
    }
}
