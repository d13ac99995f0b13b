using Nibble.Core.Compute;

namespace Nibble.Llm.Layers;

/// <summary>A network beside another one, with norms of its own.</summary>
/// <param name="Norm">Norm of what it reads, or null.</param>
/// <param name="Network">The network.</param>
/// <param name="PostNorm">Norm of what it gives, or null.</param>
internal readonly record struct Branch(Norm? Norm, FeedForward Network, Norm? PostNorm);

/// <summary>The sum of two networks of the same input.</summary>
/// <param name="width">Values of a token's state.</param>
/// <param name="first">One.</param>
/// <param name="second">The other.</param>
internal sealed class SumFeedForward(int width, Branch first, Branch second) : FeedForward
{
    /// <inheritdoc/>
    public override int WorkColumns => (2 * width) + first.Network.WorkColumns + second.Network.WorkColumns;

    /// <inheritdoc/>
    public override int IdColumns => first.Network.IdColumns + second.Network.IdColumns;

    /// <inheritdoc/>
    public override void Prepare(in Step step, Tensor state)
    {
        first.Network.Prepare(step, state);
        second.Network.Prepare(step, state);
    }

    /// <inheritdoc/>
    public override void Run(in Step step, in NormedInput input, Tensor y)
    {
        Tensor x = input.Value(step.Backend), normed = step.Scratch.Take(x.Rows, width), other = step.Scratch.Take(x.Rows, width);
        Run(step, first, x, normed, y);
        Run(step, second, x, normed, other);
        step.Backend.Add(y, other, y);
    }

    private static void Run(in Step step, in Branch branch, Tensor x, Tensor normed, Tensor y)
    {
        branch.Network.Run(step, new NormedInput(x, branch.Norm, normed), y);
        branch.PostNorm?.Apply(step.Backend, y, y);
    }
}
