using Nibble.Llm.Sampling;
using Nibble.Llm.Sessions;
using Nibble.Llm.Tokenizers;

namespace Nibble.Llm.Generation;

/// <summary>The generation loop: from a session's logits to the next id, and on.</summary>
/// <remarks>
/// One call of <see cref="Next"/> is one token: evaluate the one before, sample, decode. In steady state it allocates no managed memory.
/// After a cancelled or failed call the next one goes on where it stopped: the id that was chosen last is evaluated first.
/// </remarks>
public sealed class Generator
{
    private readonly Session _session;
    private readonly Tokenizer? _tokenizer;
    private readonly SamplerChain _sampler;
    private readonly StreamDecoder? _decoder;
    private readonly StopMatcher _stops;
    private readonly int? _maxTokens;
    private bool _mustEvaluate;

    /// <summary>A loop that goes on where the session stands.</summary>
    /// <param name="session">A session with logits: its prompt was evaluated.</param>
    /// <param name="tokenizer">Turns ids into text and knows which end a turn; null to get ids only, of which none ends anything.</param>
    /// <param name="sampler">Chooses. It has accepted the prompt already where its samplers look back.</param>
    /// <param name="options">When to end.</param>
    /// <exception cref="InvalidOperationException">The session has no logits.</exception>
    /// <exception cref="ArgumentException">There are stop strings, but no tokenizer.</exception>
    public Generator(Session session, Tokenizer? tokenizer, SamplerChain sampler, GenerationOptions options)
    {
        ArgumentNullException.ThrowIfNull(session);
        ArgumentNullException.ThrowIfNull(sampler);
        ArgumentNullException.ThrowIfNull(options);
        if (!session.HasLogits) throw new InvalidOperationException("the session has no logits; evaluate the prompt first.");
        if (tokenizer is null && options.StopStrings.Count > 0) throw new ArgumentException("stop strings need a tokenizer.", nameof(options));
        if (options.MaxTokens is < 0) throw new ArgumentOutOfRangeException(nameof(options), $"{options.MaxTokens} tokens were asked for; it must be 0 or more.");
        _session = session;
        _tokenizer = tokenizer;
        _sampler = sampler;
        _decoder = tokenizer is null ? null : new StreamDecoder(tokenizer);
        _stops = new StopMatcher(options.StopStrings);
        _maxTokens = options.MaxTokens;
        if (_maxTokens == 0) Finish = FinishReason.Length;
    }

    /// <summary>The id that the last call of <see cref="Next"/> chose.</summary>
    public int Id { get; private set; } = -1;

    /// <summary>Tokens chosen so far.</summary>
    public int Count { get; private set; }

    /// <summary>Text that may be shown since the last call: whole characters, stop strings held back. Valid until the next call.</summary>
    public ReadOnlySpan<char> Text => _stops.Released;

    /// <summary>Why it ended, or <see cref="FinishReason.None"/>.</summary>
    public FinishReason Finish { get; private set; }

    /// <summary>Chooses the next token.</summary>
    /// <param name="cancellation">Looked at between layers.</param>
    /// <returns>False when the generation had ended before.</returns>
    /// <exception cref="ContextOverflowException">The session is full.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public bool Next(CancellationToken cancellation = default)
    {
        if (Finish != FinishReason.None) return false;
        cancellation.ThrowIfCancellationRequested();
        (int Id, float Logit) best = (-1, 0);
        if (_mustEvaluate)
        {
            best = Evaluate(cancellation);
            _mustEvaluate = false;
        }

        Id = best.Id >= 0 ? _sampler.Take(best.Id, best.Logit) : _sampler.Sample(_session.Logits);
        _sampler.Accept(Id);
        Count++;
        _mustEvaluate = true;
        bool isEnd = _tokenizer is not null && _tokenizer.IsEndOfGeneration(Id);
        _stops.Append(isEnd || _decoder is null ? default : _decoder.Append(Id));
        Finish = isEnd ? FinishReason.EndOfGeneration
            : _stops.IsHit ? FinishReason.StopString
            : Count == _maxTokens ? FinishReason.Length
            : FinishReason.None;

        return true;
    }

    // Where the best token is always taken, the device may tell which it is; else an id of -1.
    private (int Id, float Logit) Evaluate(CancellationToken cancellation)
    {
        if (_sampler.IsGreedy) return _session.EvaluateBest(Id, cancellation);
        _session.Evaluate([Id], cancellation);
        return (-1, 0);
    }

    /// <summary>Releases what was held back, once the generation has ended or was given up: afterwards <see cref="Text"/> is the rest.</summary>
    public void Flush()
    {
        _stops.Finish(_decoder is null ? default : _decoder.Flush());
    }
}
