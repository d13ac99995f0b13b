using System.Collections.Immutable;
using Nibble.Core.Compute;

namespace Nibble.Llm.Layers;

/// <summary>Kimi Delta Attention: a delta rule with a decay for each value of a key, from matrices of low rank as its gates are.</summary>
/// <remarks>Kimi Linear, arXiv 2510.26692.</remarks>
internal sealed class KimiDeltaLayer : DeltaRuleLayer
{
    /// <summary>One matrix of queries, keys and values, or three.</summary>
    public required ImmutableArray<Weight> Projections { get; init; }

    /// <summary>[heads x width].</summary>
    public required Weight Betas { get; init; }

    /// <summary>[rank x width].</summary>
    public required Weight StepsDown { get; init; }

    /// <summary>[heads of key size x rank].</summary>
    public required Weight StepsUp { get; init; }

    /// <summary>[rank x width].</summary>
    public required Weight GatesDown { get; init; }

    /// <summary>[values x rank].</summary>
    public required Weight GatesUp { get; init; }

    /// <inheritdoc/>
    protected override int ProjectionColumns => StepsDown.Rows + GatesDown.Rows;

    /// <inheritdoc/>
    protected override void Project(in Step step, Tensor x, Tensor mixed, Tensor gates, Tensor betas, Tensor steps)
    {
        Backend backend = step.Backend;
        Tensor lowSteps = step.Scratch.Take(x.Rows, StepsDown.Rows), lowGates = step.Scratch.Take(x.Rows, GatesDown.Rows);
        if (Projections.Length == 1) backend.MatMul(x, Projections[0], mixed);
        else backend.MatMul(x, Projections.AsSpan(), [mixed.SliceColumns(0, KeyWidth), mixed.SliceColumns(KeyWidth, KeyWidth), mixed.SliceColumns(2 * KeyWidth, ValueWidth)]);
        backend.MatMul(x, [Betas, StepsDown, GatesDown], [betas, lowSteps, lowGates]);
        backend.MatMul(lowSteps, StepsUp, steps);
        backend.MatMul(lowGates, GatesUp, gates);
    }
}
