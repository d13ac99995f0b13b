namespace Nibble.Llm.Sampling;

/// <summary>Draws a token by the probabilities that the samplers before it left: the plain end of a chain.</summary>
public sealed class DrawSelector : Selector
{
    /// <inheritdoc/>
    public override void Apply(CandidateSet candidates, RandomSource random) => candidates.SoftmaxForDraw();
}
