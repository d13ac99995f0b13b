using Nibble.Core.Compute;

namespace Nibble.Llm.Layers;

/// <summary>A network that reads what the layer was given, not what attention made of it.</summary>
/// <param name="norm">Norm of what it reads.</param>
/// <param name="network">The network.</param>
internal sealed class EarlyFeedForward(Norm norm, FeedForward network) : FeedForward
{
    private readonly int _width = norm.Gain!.Columns;
    private Tensor _output;

    /// <inheritdoc/>
    public override int WorkColumns => (2 * _width) + network.WorkColumns;

    /// <inheritdoc/>
    public override int IdColumns => network.IdColumns;

    /// <inheritdoc/>
    public override void Prepare(in Step step, Tensor state)
    {
        Tensor normed = step.Scratch.Take(state.Rows, _width);
        _output = step.Scratch.Take(state.Rows, _width);
        network.Prepare(step, state);
        network.Run(step, new NormedInput(state, norm, normed), _output);
    }

    /// <inheritdoc/>
    public override void Run(in Step step, in NormedInput x, Tensor y) => step.Backend.Copy(_output, y);
}
