using System.Buffers;
using System.Text;
using Nibble.Core.Gguf;

namespace Nibble.Llm.Tokenizers;

/// <summary>
/// Turns text into token ids and back, as llama.cpp v0.5.0 does with the same file. Safe to use from several threads at once.
/// Lone surrogates in text count as U+FFFD.
/// </summary>
public abstract class Tokenizer
{
    private readonly SpecialTokenMatcher _matcher;

    private protected Tokenizer(Vocabulary vocabulary)
    {
        Vocabulary = vocabulary;
        _matcher = new SpecialTokenMatcher(vocabulary);
    }

    /// <summary>The tokens.</summary>
    public Vocabulary Vocabulary { get; }

    /// <summary>What was doubtful in the file and how it was read.</summary>
    public IReadOnlyList<string> Warnings => Vocabulary.Warnings;

    /// <summary>The tokenizer of a model file.</summary>
    /// <exception cref="TokenizerException">The file's tokenizer is missing, damaged or of a kind that is not supported.</exception>
    public static Tokenizer FromMetadata(GgufMetadata metadata) => Create(VocabularySource.FromMetadata(metadata));

    /// <summary>The tokenizer of a source.</summary>
    /// <exception cref="TokenizerException">The source contradicts itself, or is of a kind that is not supported.</exception>
    public static Tokenizer Create(VocabularySource source)
    {
        Vocabulary vocabulary = new(source);
        return vocabulary.Kind switch
        {
            TokenizerKind.SentencePiece => new SentencePieceTokenizer(vocabulary),
            TokenizerKind.WordPiece => new WordPieceTokenizer(vocabulary, source.Lowercase ?? true, source.StripAccents ?? source.Lowercase ?? true),
            _ => new BytePairTokenizer(vocabulary, source.Merges),
        };
    }

    /// <summary>Encodes a text without BOS and EOS.</summary>
    /// <param name="text">The text.</param>
    /// <param name="parseSpecial">Whether the spelling of a control token is that token. User-defined tokens are recognised in either case.</param>
    /// <param name="ids">Gets the ids appended.</param>
    public void Encode(string text, bool parseSpecial, List<int> ids) => Encode([new TextSegment(text, parseSpecial)], ids);

    /// <summary>Encodes a text.</summary>
    /// <param name="text">The text.</param>
    /// <param name="parseSpecial">Whether the spelling of a control token is that token. User-defined tokens are recognised in either case.</param>
    /// <param name="addBosEos">Whether the tokens that the vocabulary wants at the beginning and the end are added.</param>
    public int[] Encode(string text, bool parseSpecial, bool addBosEos)
    {
        List<int> ids = [];
        if (addBosEos && Vocabulary.AddBos) ids.Add(Vocabulary.Special.Bos!.Value);
        Encode(text, parseSpecial, ids);
        if (addBosEos && Vocabulary.AddEos) ids.Add((Vocabulary.Kind == TokenizerKind.WordPiece ? Vocabulary.Special.Separator : Vocabulary.Special.Eos)!.Value);
        return [.. ids];
    }

    /// <summary>
    /// Encodes a prompt of segments without adding BOS and EOS. The ids are those of the joined text, except that control tokens are
    /// recognised only where they lie wholly in literal text.
    /// </summary>
    /// <param name="segments">The parts of the prompt, in order.</param>
    /// <param name="ids">Gets the ids appended.</param>
    public void Encode(ReadOnlySpan<TextSegment> segments, List<int> ids)
    {
        ArgumentNullException.ThrowIfNull(ids);
        int chars = 0;
        foreach (TextSegment segment in segments) chars += segment.Text.Length;
        if (chars == 0) return;
        byte[] buffer = ArrayPool<byte>.Shared.Rent(Encoding.UTF8.GetMaxByteCount(chars));
        LiteralRanges literals = new();
        ReadOnlySpan<byte> utf8 = buffer.AsSpan(0, Transcode(segments, buffer, literals));
        List<TextFragment> fragments = [];
        _matcher.Split(utf8, literals, fragments);
        bool afterSpecial = true;
        foreach (TextFragment fragment in fragments)
        {
            if (fragment.TokenId >= 0) ids.Add(fragment.TokenId);
            else EncodeText(utf8[fragment.StartBytes..fragment.EndBytes], afterSpecial, ids);
            afterSpecial = fragment.TokenId >= 0;
        }

        ArrayPool<byte>.Shared.Return(buffer);
    }

    /// <summary>The text of ids. Bytes that are no valid UTF-8 become U+FFFD.</summary>
    /// <param name="ids">The ids.</param>
    /// <param name="renderSpecial">Whether control tokens are spelled out; otherwise they are left out.</param>
    /// <exception cref="ArgumentOutOfRangeException">An id is not in the vocabulary.</exception>
    public string Decode(ReadOnlySpan<int> ids, bool renderSpecial)
    {
        StreamDecoder decoder = new(this, renderSpecial);
        StringBuilder text = new();
        foreach (int id in ids) text.Append(decoder.Append(id));
        return text.Append(decoder.Flush()).ToString();
    }

    /// <summary>Whether a token ends an answer.</summary>
    /// <exception cref="ArgumentOutOfRangeException">There is no such token.</exception>
    public bool IsEndOfGeneration(int id) => Vocabulary.IsEndOfGeneration(id);

    /// <summary>The token of a spelling as in the file, or null.</summary>
    public int? Find(string piece) => Vocabulary.Find(piece);

    /// <summary>Whether the space that text starts with was added by the encoder.</summary>
    internal bool StartsWithAddedSpace => Vocabulary.AddSpacePrefix || Vocabulary.Kind == TokenizerKind.WordPiece;

    /// <summary>Encodes text without special tokens.</summary>
    /// <param name="utf8">Valid UTF-8, not empty.</param>
    /// <param name="afterSpecial">Whether the text stands at the start or after a special token.</param>
    /// <param name="ids">Gets the ids appended.</param>
    private protected abstract void EncodeText(ReadOnlySpan<byte> utf8, bool afterSpecial, List<int> ids);

    // A surrogate pair that two segments share counts as text of the one that is not literal.
    private static int Transcode(ReadOnlySpan<TextSegment> segments, Span<byte> buffer, LiteralRanges literals)
    {
        int length = 0;
        char pending = '\0'; // a high surrogate at the end of the last segment
        bool pendingIsLiteral = false;
        foreach ((string text, bool isLiteral) in segments)
        {
            ReadOnlySpan<char> rest = text;
            if (rest.Length == 0) continue;
            if (pending != 0)
            {
                bool isPair = char.IsLowSurrogate(rest[0]);
                Rune rune = isPair ? new Rune(pending, rest[0]) : Rune.ReplacementChar;
                Write(rune, pendingIsLiteral && (isLiteral || !isPair), buffer);
                if (isPair) rest = rest[1..];
                pending = '\0';
            }

            if (rest.Length > 0 && char.IsHighSurrogate(rest[^1]))
            {
                pending = rest[^1];
                pendingIsLiteral = isLiteral;
                rest = rest[..^1];
            }

            int start = length;
            length += Encoding.UTF8.GetBytes(rest, buffer[length..]);
            if (isLiteral) literals.Add(start, length);
        }

        if (pending != 0) Write(Rune.ReplacementChar, pendingIsLiteral, buffer);
        return length;

        void Write(Rune rune, bool isLiteral, Span<byte> destination)
        {
            int start = length;
            length += rune.EncodeToUtf8(destination[length..]);
            if (isLiteral) literals.Add(start, length);
        }
    }
}
