using Nibble.Core.Formats;
using Nibble.Llm.Generation;
using Nibble.Llm.Sampling;
using Nibble.Llm.Sessions;

namespace Nibble;

/// <summary>How a <see cref="Chat"/> talks.</summary>
public sealed record ChatOptions
{
    /// <summary>The system message, or null to leave it to the template.</summary>
    public string? System { get; init; }

    /// <summary>How tokens are chosen.</summary>
    public SamplingOptions Sampling { get; init; } = new();

    /// <summary>When an answer ends.</summary>
    public GenerationOptions Generation { get; init; } = new();

    /// <summary>Positions; null for the model's own, at most <see cref="SessionOptions.DefaultContext"/>.</summary>
    public int? Context { get; init; }

    /// <summary>Format of keys and values.</summary>
    public BlockFormat KvFormat { get; init; } = BlockFormats.F16;

    /// <summary>Whether the oldest turns are dropped when the context is full, rather than throw <see cref="ContextOverflowException"/>.</summary>
    public bool ContextShift { get; init; }
}

/// <summary>Takes a piece of an answer as it comes. The span is valid during the call only.</summary>
/// <param name="text">Whole characters.</param>
public delegate void TextHandler(ReadOnlySpan<char> text);

/// <summary>What came of one answer.</summary>
/// <param name="Text">The whole answer.</param>
/// <param name="Finish">Why it ended; <see cref="FinishReason.None"/> when it was cancelled.</param>
/// <param name="PromptTokens">Ids of the rendered conversation.</param>
/// <param name="ReusedTokens">Of these, how many the session held already.</param>
/// <param name="GeneratedTokens">Ids of the answer.</param>
/// <param name="PromptTime">From the call to the first logits.</param>
/// <param name="GenerationTime">From there to the end.</param>
public sealed record ChatAnswer(
    string Text, FinishReason Finish, int PromptTokens, int ReusedTokens, int GeneratedTokens, TimeSpan PromptTime, TimeSpan GenerationTime);
