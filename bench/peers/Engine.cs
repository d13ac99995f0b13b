namespace Peers;

/// <summary>Runs a model in this process.</summary>
internal abstract class Engine : IDisposable
{
    /// <summary>What it says of itself now.</summary>
    public abstract Loaded Describe();

    /// <summary>Makes the context hold exactly that many positions.</summary>
    /// <param name="depth">Positions.</param>
    public abstract void Seek(int depth);

    /// <summary>Appends tokens in one call; returns when the logits of the last are there.</summary>
    /// <param name="ids">Ids.</param>
    public abstract void Append(ReadOnlySpan<int> ids);

    /// <summary>Ids that there are.</summary>
    public abstract int Vocabulary { get; }

    /// <inheritdoc/>
    public abstract void Dispose();
}
