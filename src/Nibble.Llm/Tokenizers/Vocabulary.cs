using System.Collections;
using System.Text;
using Nibble.Llm.Tokenizers.PreTokenizers;

namespace Nibble.Llm.Tokenizers;

/// <summary>The tokens of a model: spelling, bytes, kind and score of each, and which have a role. Immutable.</summary>
public sealed class Vocabulary
{
    private readonly PieceIndex _index;
    private readonly PieceTable _decoded;
    private readonly TokenAttributes[] _attributes;
    private readonly float[]? _scores;
    private readonly BitArray _endOfGeneration;
    private readonly Func<int, bool> _isText;

    /// <param name="source">What the file says.</param>
    /// <exception cref="TokenizerException">The source contradicts itself, or is of a kind that is not supported.</exception>
    public Vocabulary(VocabularySource source)
    {
        VocabularyReader reader = new(source);
        Kind = reader.Kind;
        Pieces = source.Pieces;
        PreTokenizer = reader.PreTokenizer;
        _index = reader.Index;
        _attributes = reader.Attributes;
        _scores = source.Scores;
        Special = reader.Special;
        AddBos = reader.AddBos;
        AddEos = reader.AddEos;
        AddSpacePrefix = reader.AddSpacePrefix;
        _endOfGeneration = reader.EndOfGeneration;
        Warnings = reader.Warnings;
        _isText = IsText;
        _decoded = Decode();
    }

    /// <summary>The family of the tokenizer.</summary>
    public TokenizerKind Kind { get; }

    /// <summary>The number of tokens.</summary>
    public int Count => Pieces.Count;

    /// <summary>The tokens as the file spells them.</summary>
    public PieceTable Pieces { get; }

    /// <summary>The ids of tokens with a role.</summary>
    public SpecialTokenIds Special { get; }

    /// <summary>Whether a prompt starts with <see cref="SpecialTokenIds.Bos"/>; then there is one.</summary>
    public bool AddBos { get; }

    /// <summary>Whether a prompt ends with an end token (BERT: <see cref="SpecialTokenIds.Separator"/>, otherwise <see cref="SpecialTokenIds.Eos"/>); then there is one.</summary>
    public bool AddEos { get; }

    /// <summary>Whether text gets a space before it: at the start and after each special token. SentencePiece only.</summary>
    public bool AddSpacePrefix { get; }

    /// <summary>What was doubtful in the file and how it was read, one sentence each. Show them to the user.</summary>
    public IReadOnlyList<string> Warnings { get; }

    /// <summary>The value of <c>tokenizer.ggml.pre</c> in force and what follows from it; null where the kind has none.</summary>
    internal PreTokenizerEntry? PreTokenizer { get; }

    /// <summary>The bytes that a token stands for; for a special token its spelling. A token's bytes need not be whole characters.</summary>
    /// <exception cref="ArgumentOutOfRangeException">There is no such token.</exception>
    public ReadOnlySpan<byte> TokenBytes(int id) => _decoded[Checked(id)];

    /// <summary>What a token is.</summary>
    /// <exception cref="ArgumentOutOfRangeException">There is no such token.</exception>
    public TokenAttributes Attributes(int id) => _attributes[Checked(id)];

    /// <summary>The score of a token, 0 where the file has none: the higher, the sooner SentencePiece forms it.</summary>
    /// <exception cref="ArgumentOutOfRangeException">There is no such token.</exception>
    public float Score(int id) => _scores is null ? 0 : _scores[Checked(id)];

    /// <summary>Whether a token ends an answer.</summary>
    /// <exception cref="ArgumentOutOfRangeException">There is no such token.</exception>
    public bool IsEndOfGeneration(int id) => _endOfGeneration[Checked(id)];

    /// <summary>Whether a token is left out of the text shown to people.</summary>
    /// <exception cref="ArgumentOutOfRangeException">There is no such token.</exception>
    public bool IsHidden(int id)
    {
        TokenAttributes attributes = _attributes[Checked(id)];
        return (attributes & (TokenAttributes.Control | TokenAttributes.Unknown)) != 0 && (attributes & TokenAttributes.Shown) == 0;
    }

    /// <summary>The token of a spelling as in the file, or null.</summary>
    public int? Find(string piece)
    {
        int id = Find(Encoding.UTF8.GetBytes(piece));
        return id < 0 ? null : id;
    }

    /// <summary>The token of a spelling as in the file, or -1.</summary>
    internal int Find(ReadOnlySpan<byte> piece) => _index.Find(piece);

    /// <summary>The token that text may become by merging, or -1: any but a control token, which only <see cref="SpecialTokenMatcher"/> finds.</summary>
    internal int FindInText(ReadOnlySpan<byte> piece) => _index.Find(piece) is >= 0 and int id && IsText(id) ? id : -1;

    /// <summary>Whether text may become a token by merging.</summary>
    internal bool IsText(int id) => (_attributes[id] & TokenAttributes.Control) == 0;

    /// <summary>The longest token that a text starts with and may become, or -1.</summary>
    internal int FindLongestPrefix(ReadOnlySpan<byte> text, out int lengthBytes) => _index.FindLongestPrefix(text, _isText, out lengthBytes);

    /// <summary>The token of a byte, spelled &lt;0x00&gt; to &lt;0xFF&gt; or as the byte itself; -1 where there is none.</summary>
    internal int FindByte(byte value)
    {
        int id = FindInText(Encoding.ASCII.GetBytes($"<0x{value:X2}>"));
        return id >= 0 ? id : FindInText([value]);
    }

    private int Checked(int id) => (uint)id < (uint)Count
        ? id
        : throw new ArgumentOutOfRangeException(nameof(id), $"The token id is {id}; the vocabulary has ids 0 to {Count - 1}.");

    private PieceTable Decode()
    {
        const TokenAttributes Verbatim = TokenAttributes.Unknown | TokenAttributes.Control | TokenAttributes.UserDefined;
        PieceTable.Builder builder = new(Count);
        byte[] buffer = new byte[Pieces.LongestBytes];
        bool byteLevel = PreTokenizer is { ByteLevel: true };
        bool escaped = PreTokenizer is null or { EscapeSpaces: true };
        for (int id = 0; id < Count; id++)
        {
            ReadOnlySpan<byte> piece = Pieces[id];
            TokenAttributes attributes = _attributes[id];
            if ((attributes & Verbatim) != 0) builder.Add(piece);
            else if ((attributes & TokenAttributes.Normal) != 0 && byteLevel) builder.Add(buffer.AsSpan(0, ByteLevelAlphabet.Read(piece, buffer)));
            else if ((attributes & TokenAttributes.Normal) != 0 && escaped) builder.Add(buffer.AsSpan(0, SpaceEscape.Remove(piece, buffer)));
            else if ((attributes & TokenAttributes.Normal) != 0) builder.Add(piece);
            else if ((attributes & TokenAttributes.Byte) != 0 && VocabularyReader.TryReadByte(piece, out byte value)) builder.Add([value]);
            else builder.Add([]);
        }

        return builder.Build();
    }
}
