using Nibble.Core.Compute;

namespace Nibble.Llm.Layers;

/// <summary>One matrix in the place of attention; it mixes no tokens.</summary>
/// <param name="output">[width x width].</param>
internal sealed class LinearMixer(Weight output) : Mixer
{
    /// <inheritdoc/>
    public override int WorkColumns => 0;

    /// <inheritdoc/>
    public override void Run(in Step step, in NormedInput x, Tensor y) => x.MatMul(step.Backend, output, y);
}
