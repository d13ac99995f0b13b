using System.Collections.Immutable;
using Nibble.Core.Compute;
using Nibble.Llm.Sessions;

namespace Nibble.Llm.Layers;

/// <summary>What a layer computes with, and where it stands.</summary>
/// <param name="Backend">What computes.</param>
/// <param name="Scratch">Memory.</param>
/// <param name="Sequence">Keys, values and states of the positions before.</param>
/// <param name="FirstPosition">Position of the batch's first token.</param>
internal readonly record struct Step(Backend Backend, Scratch Scratch, SequenceState Sequence, int FirstPosition);

/// <summary>The part of a layer that mixes tokens: attention, or a recurrence.</summary>
internal abstract class Mixer
{
    /// <summary>Values a token that <see cref="Run"/> takes of <see cref="Scratch"/>.</summary>
    public abstract int WorkColumns { get; }

    /// <summary>Ids a token that <see cref="Run"/> takes of <see cref="Scratch"/>.</summary>
    public virtual int IdColumns => 0;

    /// <summary>The layers of the KV cache that it reads.</summary>
    public virtual ImmutableArray<int> KvIndices => [];

    /// <summary>y = mixed x, and the sequence holds what later tokens need.</summary>
    /// <param name="step">Where it stands.</param>
    /// <param name="x">[tokens x width].</param>
    /// <param name="y">[tokens x width], overwritten.</param>
    public abstract void Run(in Step step, in NormedInput x, Tensor y);
}
