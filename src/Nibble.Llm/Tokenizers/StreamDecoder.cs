using System.Text;

namespace Nibble.Llm.Tokenizers;

/// <summary>
/// Turns ids into text one by one, for streaming: only whole characters come out, bytes of an unfinished one wait for the next token.
/// Allocates nothing once made, beyond a buffer that grows to the longest token. Not for use by two threads at once.
/// </summary>
public sealed class StreamDecoder
{
    private readonly Vocabulary _vocabulary;
    private readonly bool _renderSpecial;
    private readonly bool _dropFirstSpace;
    private readonly Decoder _decoder = Encoding.UTF8.GetDecoder();
    private char[] _buffer = new char[64];
    private bool _atStart;

    /// <param name="tokenizer">Whose ids come.</param>
    /// <param name="renderSpecial">Whether control tokens are spelled out; otherwise they are left out.</param>
    public StreamDecoder(Tokenizer tokenizer, bool renderSpecial = false)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        _vocabulary = tokenizer.Vocabulary;
        _renderSpecial = renderSpecial;
        _dropFirstSpace = _atStart = tokenizer.StartsWithAddedSpace;
    }

    /// <summary>Takes a token and gives the characters that are whole now.</summary>
    /// <param name="id">The token.</param>
    /// <returns>Valid until the next call.</returns>
    /// <exception cref="ArgumentOutOfRangeException">There is no such token.</exception>
    public ReadOnlySpan<char> Append(int id)
    {
        int needed = MaxChars(id);
        if (_buffer.Length < needed) _buffer = new char[Math.Max(needed, _buffer.Length * 2)];
        return _buffer.AsSpan(0, Append(id, _buffer));
    }

    /// <summary>Takes a token and writes the characters that are whole now.</summary>
    /// <param name="id">The token.</param>
    /// <param name="destination">Gets the characters; <see cref="MaxChars"/> tells how long it must be.</param>
    /// <returns>The number of characters.</returns>
    /// <exception cref="ArgumentException">The destination is too short; the token was not taken.</exception>
    /// <exception cref="ArgumentOutOfRangeException">There is no such token.</exception>
    public int Append(int id, Span<char> destination)
    {
        ReadOnlySpan<byte> bytes = _vocabulary.TokenBytes(id);
        if (!_renderSpecial && _vocabulary.IsHidden(id)) return 0;
        if (destination.Length < MaxChars(id))
            throw new ArgumentException($"The destination holds {destination.Length} characters; token {id} needs up to {MaxChars(id)}.", nameof(destination));
        if (_atStart && bytes.Length > 0)
        {
            _atStart = false;
            if (bytes[0] == ' ') bytes = bytes[1..];
        }

        return _decoder.GetChars(bytes, destination, flush: false);
    }

    /// <summary>Ends the text: bytes of an unfinished character give U+FFFD. The decoder is then as new.</summary>
    /// <returns>Valid until the next call.</returns>
    public ReadOnlySpan<char> Flush()
    {
        int count = _decoder.GetChars([], _buffer, flush: true);
        Reset();
        return _buffer.AsSpan(0, count);
    }

    /// <summary>Forgets all, unfinished characters too.</summary>
    public void Reset()
    {
        _decoder.Reset();
        _atStart = _dropFirstSpace;
    }

    /// <summary>The most characters that a token can give: one for each of its bytes and of the bytes that wait.</summary>
    /// <exception cref="ArgumentOutOfRangeException">There is no such token.</exception>
    public int MaxChars(int id) => _vocabulary.TokenBytes(id).Length + 4;
}
