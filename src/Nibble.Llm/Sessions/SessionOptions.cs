using Nibble.Core.Formats;

namespace Nibble.Llm.Sessions;

/// <summary>How much a session can hold, and how.</summary>
public sealed record SessionOptions
{
    /// <summary>
    /// Positions; null for the model's context length, at most <see cref="DefaultContext"/>. A model that has embeddings of positions instead of RoPE takes no more than those.
    /// </summary>
    public int? Context { get; init; }

    /// <summary>The most positions that a session takes where the caller names no number.</summary>
    public const int DefaultContext = 8192;

    /// <summary>Format of keys and values, one of <see cref="Core.Compute.KvCache.Formats"/>.</summary>
    public BlockFormat KvFormat { get; init; } = BlockFormats.F16;

    /// <summary>Whether a full session drops its older half and goes on, rather than throw <see cref="ContextOverflowException"/>.</summary>
    public bool ContextShift { get; init; }

    /// <summary>Tokens at the start that a context shift never drops.</summary>
    public int Keep { get; init; }
}

/// <summary>Tokens do not fit into a session.</summary>
public sealed class ContextOverflowException : InvalidOperationException
{
    internal ContextOverflowException(int length, int requested, int capacity, bool shift)
        : base($"{requested} more tokens do not fit: the session holds {length} of {capacity} positions. "
            + (shift ? "Even with a context shift they are too many; shorten the prompt or raise the context (--context)."
                     : "Use fewer tokens, a larger context (--context), or allow a context shift (--context-shift)."))
    {
        Length = length;
        Requested = requested;
        Capacity = capacity;
    }

    /// <summary>Positions in use.</summary>
    public int Length { get; }

    /// <summary>Tokens that were to be added.</summary>
    public int Requested { get; }

    /// <summary>Positions that there are.</summary>
    public int Capacity { get; }
}

/// <summary>A saved session cannot be restored: the file is damaged, or of another model.</summary>
public sealed class SessionStateException : IOException
{
    /// <summary>Describes why.</summary>
    /// <param name="message">The text.</param>
    public SessionStateException(string message)
        : base(message)
    {
    }
}
