namespace Peers;

/// <summary>One of the programs that are compared, on one group.</summary>
internal abstract class Side : IDisposable
{
    /// <summary>The side's name.</summary>
    public abstract string Name { get; }

    /// <summary>Loads the model and warms up.</summary>
    /// <exception cref="PeerException">It cannot be measured.</exception>
    public abstract void Start();

    /// <summary>Does every test once. Before and afterwards the side does nothing at all.</summary>
    /// <returns>For each test tokens per second, or null where the side cannot do it.</returns>
    /// <exception cref="PeerException">It cannot be measured.</exception>
    public abstract double?[] Turn();

    /// <summary>What it says of itself, after its last turn.</summary>
    /// <exception cref="PeerException">It says nothing any more.</exception>
    public abstract Loaded Describe();

    /// <inheritdoc/>
    public abstract void Dispose();
}
