using Nibble.Core.Compute;

namespace Nibble.Llm.Layers;

/// <summary>The part of a layer after (or beside) attention.</summary>
internal abstract class FeedForward
{
    /// <summary>Values a token that it takes of <see cref="Scratch"/>.</summary>
    public abstract int WorkColumns { get; }

    /// <summary>Ids a token that it takes of <see cref="Scratch"/>.</summary>
    public virtual int IdColumns => 0;

    /// <summary>Called before attention, with what the layer was given.</summary>
    /// <param name="step">Where it stands.</param>
    /// <param name="state">[tokens x width], not normed.</param>
    public virtual void Prepare(in Step step, Tensor state)
    {
    }

    /// <summary>y = network of x.</summary>
    /// <param name="step">Where it stands.</param>
    /// <param name="x">[tokens x width].</param>
    /// <param name="y">[tokens x width], overwritten.</param>
    public abstract void Run(in Step step, in NormedInput x, Tensor y);
}

/// <summary>down(activation(gate x) up x), or without a gate down(activation(up x)).</summary>
internal sealed class DenseFeedForward : FeedForward
{
    /// <summary>The activation.</summary>
    public required Activation Activation { get; init; }

    /// <summary>[hidden x width]; null where there is no gate, or where it is the first half of <see cref="Up"/>.</summary>
    public Linear? Gate { get; init; }

    /// <summary>Whether the first half of <see cref="Up"/> is the gate.</summary>
    public bool IsFused { get; init; }

    /// <summary>[hidden x width], or fused [2 hidden x width].</summary>
    public required Linear Up { get; init; }

    /// <summary>Norm before the last matrix, or null.</summary>
    public Norm? InnerNorm { get; init; }

    /// <summary>[width x hidden].</summary>
    public required Linear Down { get; init; }

    /// <inheritdoc/>
    public override int WorkColumns => Up.Weight.Rows + (Gate?.Weight.Rows ?? 0);

    /// <inheritdoc/>
    public override void Run(in Step step, in NormedInput x, Tensor y)
    {
        Backend backend = step.Backend;
        int hidden = Down.Weight.Columns;
        Tensor up = step.Scratch.Take(x.Rows, Up.Weight.Rows);
        Tensor inner = up.SliceColumns(0, hidden);
        if (Gate is { } gate)
        {
            inner = step.Scratch.Take(x.Rows, hidden);
            x.MatMul(backend, [gate.Weight, Up.Weight], [inner, up]);
            gate.AddBias(backend, inner);
        }
        else
        {
            x.MatMul(backend, Up.Weight, up);
        }

        Up.AddBias(backend, up);
        if (Gate is not null || IsFused)
        {
            GatedProduct.Run(backend, Activation, inner, IsFused ? up.SliceColumns(hidden, hidden) : up, inner, InnerNorm, Down.Weight, y);
        }
        else
        {
            backend.Activate(Activation, inner, inner);
            new NormedInput(inner, InnerNorm, inner).MatMul(backend, Down.Weight, y);
        }

        Down.AddBias(backend, y);
    }
}
