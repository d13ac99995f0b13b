using System.Collections.Immutable;
using Nibble.Core.Compute;

namespace Nibble.Llm.Layers;

/// <summary>The sum of two mixers of the same input.</summary>
/// <param name="width">Values of a token's state.</param>
/// <param name="first">One.</param>
/// <param name="second">The other.</param>
internal sealed class SumMixer(int width, Mixer first, Mixer second) : Mixer
{
    /// <inheritdoc/>
    public override int WorkColumns => width + first.WorkColumns + second.WorkColumns;

    /// <inheritdoc/>
    public override int IdColumns => first.IdColumns + second.IdColumns;

    /// <inheritdoc/>
    public override ImmutableArray<int> KvIndices => [.. first.KvIndices, .. second.KvIndices];

    /// <inheritdoc/>
    public override void Run(in Step step, in NormedInput input, Tensor y)
    {
        NormedInput x = new(input.Value(step.Backend));
        Tensor other = step.Scratch.Take(x.Rows, width);
        first.Run(step, x, y);
        second.Run(step, x, other);
        step.Backend.Add(y, other, y);
    }
}
