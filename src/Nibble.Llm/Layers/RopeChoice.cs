using Nibble.Core.Compute;

namespace Nibble.Llm.Layers;

/// <summary>The rotation of a layer, which may depend on how long the session's context can become (longrope).</summary>
/// <param name="Table">The rotation.</param>
/// <param name="Long">The one for contexts longer than <paramref name="OriginalContext"/>; null where it is the same.</param>
/// <param name="OriginalContext">Positions before scaling.</param>
internal sealed record RopeChoice(RopeTable Table, RopeTable? Long, int OriginalContext)
{
    /// <summary>The rotation for a context of so many positions.</summary>
    /// <param name="capacity">Positions that the session can hold.</param>
    public RopeTable For(int capacity) => Long is not null && capacity > OriginalContext ? Long : Table;
}
