namespace Nibble;

/// <summary>There is no such model, or its file is not the one that the manifest describes.</summary>
public sealed class ModelNotFoundException : IOException
{
    /// <summary>Describes what was looked for, and where.</summary>
    /// <param name="message">The text.</param>
    /// <param name="inner">The cause, where there is one.</param>
    public ModelNotFoundException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}
