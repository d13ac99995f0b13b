using Nibble.Core.Compute;

namespace Nibble.Llm.Layers;

/// <summary>How queries, keys, values and their gates are laid out in the file's matrices.</summary>
internal enum DeltaNetLayout
{
    /// <summary>Matrices of [queries, keys, values], of output gates, of betas and of steps.</summary>
    Split,

    /// <summary>The same, but betas and steps in one: for each key head the betas of its heads, then their steps.</summary>
    FusedSteps,

    /// <summary>Two matrices: one with the query, key, values and output gates of each key head in turn, and that of betas and steps.</summary>
    Fused,
}

/// <summary>Gated delta net, as Qwen3-Next has it.</summary>
internal sealed class DeltaNetLayer : DeltaRuleLayer
{
    /// <summary>What <see cref="Projections"/> are.</summary>
    public required DeltaNetLayout Layout { get; init; }

    /// <summary>The first matrices, by <see cref="Layout"/>.</summary>
    public required Weight[] Projections { get; init; }

    /// <inheritdoc/>
    protected override int ProjectionColumns => (Layout == DeltaNetLayout.Split ? 0 : 2 * Heads) + (Layout == DeltaNetLayout.Fused ? Projections[0].Rows : 0);

    /// <inheritdoc/>
    protected override void Project(in Step step, Tensor x, Tensor mixed, Tensor gates, Tensor betas, Tensor steps)
    {
        Backend backend = step.Backend;
        int shared = Heads / KeyHeads, rows = x.Rows * KeyHeads;
        if (Layout == DeltaNetLayout.Split)
        {
            backend.MatMul(x, Projections, [mixed, gates, betas, steps]);
            return;
        }

        Tensor both = step.Scratch.Take(x.Rows, 2 * Heads);
        if (Layout == DeltaNetLayout.FusedSteps) backend.MatMul(x, Projections, [mixed, gates, both]);
        else
        {
            Tensor all = step.Scratch.Take(x.Rows, Projections[0].Rows);
            backend.MatMul(x, Projections, [all, both]);
            int width = all.Columns / KeyHeads, values = shared * HeadSize;
            for (int h = 0; h < KeyHeads; h++)
            {
                Tensor head = all.SliceColumns(h * width, width);
                backend.Copy(head.SliceColumns(0, HeadSize), mixed.SliceColumns(h * HeadSize, HeadSize));
                backend.Copy(head.SliceColumns(HeadSize, HeadSize), mixed.SliceColumns(KeyWidth + (h * HeadSize), HeadSize));
                backend.Copy(head.SliceColumns(2 * HeadSize, values), mixed.SliceColumns((2 * KeyWidth) + (h * values), values));
                backend.Copy(head.SliceColumns((2 * HeadSize) + values, values), gates.SliceColumns(h * values, values));
            }
        }

        Tensor pairs = both.Reshape(rows, 2 * shared);
        backend.Copy(pairs.SliceColumns(0, shared), betas.Reshape(rows, shared));
        backend.Copy(pairs.SliceColumns(shared, shared), steps.Reshape(rows, shared));
    }
}
