using System.Collections;
using System.Globalization;
using System.Text;
using Nibble.Llm.Tokenizers.PreTokenizers;

namespace Nibble.Llm.Tokenizers;

/// <summary>
/// Concludes from a source what a vocabulary is: defaults of its kind, roles told by spelling, attributes. The rules are llama.cpp
/// v0.5.0's, with three exceptions. A byte-pair vocabulary without an end token has none (not id 11). The parts of a harmony answer stay
/// control tokens and are merely shown, so that a user's text cannot forge them. A missing BOS or EOS is a warning, not an abort.
/// </summary>
internal sealed class VocabularyReader
{
    private const TokenAttributes AnySpecial = TokenAttributes.Control | TokenAttributes.UserDefined | TokenAttributes.Unknown;

    private readonly VocabularySource _source;
    private readonly List<string> _warnings = [];

    public VocabularyReader(VocabularySource source)
    {
        _source = source;
        if (source.Pieces.Count == 0) throw new TokenizerException("tokenizer.ggml.tokens is empty; a vocabulary needs at least one token.");
        if (source.Scores is { } scores && scores.Length < source.Pieces.Count) throw TooShort("scores", scores.Length);
        if (source.Types is { } types && types.Length < source.Pieces.Count) throw TooShort("token_type", types.Length);

        (Kind, SpecialTokenIds defaults) = KindOf(source.Model);
        if (Kind == TokenizerKind.BytePairEncoding) PreTokenizer = FindPreTokenizer();
        Index = new PieceIndex(source.Pieces);
        if (Index.Duplicates > 0) _warnings.Add($"{Index.Duplicates} tokens have the spelling of a later token and are never produced from text.");

        Attributes = ReadAttributes();
        EndOfGeneration = new BitArray(source.Pieces.Count);
        Special = DetectRoles(InRange(source.Special, defaults));
        MarkUnused();
        DetectEndOfGeneration();
        SetStripping();

        bool isBert = Kind == TokenizerKind.WordPiece;
        AddSpacePrefix = source.AddSpacePrefix ?? Kind == TokenizerKind.SentencePiece;
        AddSpacePrefix &= Kind == TokenizerKind.SentencePiece;
        AddBos = isBert || PreTokenizer is { AlwaysAddBos: true } || (source.AddBos ?? (Kind == TokenizerKind.SentencePiece || PreTokenizer is { AddBos: true }));
        AddEos = isBert || source.AddEos == true;
        AddBos = Available(AddBos, Special.Bos, "beginning");
        AddEos = Available(AddEos, isBert ? Special.Separator : Special.Eos, "end");
    }

    public TokenizerKind Kind { get; }

    public PreTokenizerEntry? PreTokenizer { get; }

    public PieceIndex Index { get; }

    public TokenAttributes[] Attributes { get; }

    public SpecialTokenIds Special { get; private set; }

    public BitArray EndOfGeneration { get; }

    public bool AddBos { get; }

    public bool AddEos { get; }

    public bool AddSpacePrefix { get; }

    public IReadOnlyList<string> Warnings => _warnings;

    /// <summary>The value of a byte token's spelling, &lt;0x00&gt; to &lt;0xFF&gt;.</summary>
    public static bool TryReadByte(ReadOnlySpan<byte> piece, out byte value)
    {
        value = 0;
        return piece.Length == 6 && piece.StartsWith("<0x"u8) && piece[5] == '>'
            && byte.TryParse(piece.Slice(3, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
    }

    private static (TokenizerKind Kind, SpecialTokenIds Defaults) KindOf(string model) => model switch
    {
        "llama" => (TokenizerKind.SentencePiece, new SpecialTokenIds { Bos = 1, Eos = 2, Unknown = 0 }),
        "gpt2" or "gemma4" => (TokenizerKind.BytePairEncoding, new SpecialTokenIds()),
        "bert" => (TokenizerKind.WordPiece, new SpecialTokenIds { Bos = 101, Unknown = 100, Separator = 102, Padding = 0, Mask = 103 }),
        _ => throw new TokenizerException($"tokenizer.ggml.model is '{model}', a kind of tokenizer that Nibble does not support; it supports llama, gpt2, gemma4 and bert."),
    };

    private TokenizerException TooShort(string key, int count) =>
        new($"tokenizer.ggml.{key} has {count} elements; tokenizer.ggml.tokens has {_source.Pieces.Count}, and each token needs one.");

    private PreTokenizerEntry FindPreTokenizer()
    {
        if (_source.Model == "gemma4") return PreTokenizerTable.Find("gemma4");
        if (!string.IsNullOrEmpty(_source.PreTokenizer)) return PreTokenizerTable.Find(_source.PreTokenizer);
        _warnings.Add("The file names no pre-tokenizer (tokenizer.ggml.pre); 'default' is used, and answers may be worse than the model's own. Convert the model anew.");
        return PreTokenizerTable.Find(PreTokenizerTable.DefaultName);
    }

    private TokenAttributes[] ReadAttributes()
    {
        TokenAttributes[] attributes = new TokenAttributes[_source.Pieces.Count];
        for (int id = 0; id < attributes.Length; id++)
        {
            attributes[id] = _source.Types?[id] switch
            {
                null or 1 => TokenAttributes.Normal,
                2 => TokenAttributes.Unknown,
                3 => TokenAttributes.Control,
                4 => TokenAttributes.UserDefined,
                5 => TokenAttributes.Unused,
                6 => TokenAttributes.Byte,
                _ => TokenAttributes.None,
            };
            if (attributes[id] == TokenAttributes.Byte && !TryReadByte(_source.Pieces[id], out _))
                throw new TokenizerException($"Token {id} is of the type byte (6) and spelled '{_source.Pieces.Text(id)}'; such tokens are spelled <0x00> to <0xFF>.");
        }

        return attributes;
    }

    private SpecialTokenIds InRange(SpecialTokenIds named, SpecialTokenIds defaults)
    {
        return new SpecialTokenIds
        {
            Bos = Check(named.Bos, defaults.Bos, "BOS"),
            Eos = Check(named.Eos, defaults.Eos, "EOS"),
            Eot = Check(named.Eot, null, "EOT"),
            Eom = Check(named.Eom, null, "EOM"),
            Unknown = Check(named.Unknown, defaults.Unknown, "unknown"),
            Separator = Check(named.Separator, defaults.Separator, "separator"),
            Padding = Check(named.Padding, defaults.Padding, "padding"),
            Mask = Check(named.Mask, defaults.Mask, "mask"),
            FimPrefix = Check(named.FimPrefix, null, "FIM prefix"),
            FimSuffix = Check(named.FimSuffix, null, "FIM suffix"),
            FimMiddle = Check(named.FimMiddle, null, "FIM middle"),
            FimPadding = Check(named.FimPadding, null, "FIM padding"),
            FimRepository = Check(named.FimRepository, null, "FIM repository"),
            FimSeparator = Check(named.FimSeparator, null, "FIM separator"),
        };

        int? Check(int? id, int? fallback, string role)
        {
            if (fallback >= _source.Pieces.Count) fallback = null;
            if (id is null) return fallback;
            if (id >= 0 && id < _source.Pieces.Count) return id;
            _warnings.Add($"The {role} token is {id}, outside of the vocabulary of {_source.Pieces.Count} tokens; {(fallback is null ? "there is none" : $"{fallback} is used")}.");
            return fallback;
        }
    }

    private int? FindName(string name) => Index.Find(Encoding.UTF8.GetBytes(name)) is >= 0 and int id ? id : null;

    private SpecialTokenIds DetectRoles(SpecialTokenIds ids)
    {
        return ids with
        {
            Eot = ids.Eot ?? Detect(SpecialTokenNames.EndOfTurn),
            Eom = ids.Eom ?? Detect(SpecialTokenNames.EndOfMessage),
            FimPrefix = ids.FimPrefix ?? Detect(SpecialTokenNames.FimPrefix),
            FimSuffix = ids.FimSuffix ?? Detect(SpecialTokenNames.FimSuffix),
            FimMiddle = ids.FimMiddle ?? Detect(SpecialTokenNames.FimMiddle),
            FimPadding = ids.FimPadding ?? Detect(SpecialTokenNames.FimPadding),
            FimRepository = ids.FimRepository ?? Detect(SpecialTokenNames.FimRepository),
            FimSeparator = ids.FimSeparator ?? Detect(SpecialTokenNames.FimSeparator),
        };

        int? Detect(string[] names)
        {
            foreach (string name in names)
                if (FindName(name) is { } id)
                {
                    MakeControl(id);
                    return id;
                }

            return null;
        }
    }

    private void MakeControl(int id)
    {
        if ((Attributes[id] & TokenAttributes.Control) != 0) return;
        Attributes[id] |= TokenAttributes.Control;
        _warnings.Add($"Token {id} '{_source.Pieces.Text(id)}' is not typed as a control token; its spelling says that it is one, and it is treated so.");
    }

    private void MarkUnused()
    {
        for (int id = 0; id < Attributes.Length; id++)
            if ((Attributes[id] & TokenAttributes.Control) != 0 && _source.Pieces[id].IndexOf("unused"u8) >= 0) Attributes[id] |= TokenAttributes.Unused;
    }

    private void DetectEndOfGeneration()
    {
        foreach (int? id in new[] { Special.FimPadding, Special.FimRepository, Special.FimSeparator })
            if (id is { } fim) EndOfGeneration[fim] = true;
        foreach (string name in SpecialTokenNames.EndOfGeneration)
            if (FindName(name) is { } id)
            {
                MakeControl(id);
                EndOfGeneration[id] = true;
            }

        foreach (string name in SpecialTokenNames.Shown)
            if (FindName(name) is { } id) Attributes[id] = TokenAttributes.Control | TokenAttributes.Shown;
        foreach (int? id in new[] { Special.Eos, Special.Eot, Special.Eom })
            if (id is { } end) EndOfGeneration[end] = true;

        // Where a call ends an answer too, <|end|> only ends one of its messages (gpt-oss, Solar).
        bool calls = Ends("<|call|>") || Ends("<|calls|>");
        if (calls && (Ends("<|return|>") || Ends("<|flush|>")) && Ends("<|end|>"))
        {
            int end = FindName("<|end|>")!.Value;
            EndOfGeneration[end] = false;
            Attributes[end] = TokenAttributes.Control | TokenAttributes.Shown;
            if (Special.Eot == end) Special = Special with { Eot = null };
        }

        // Gemma 4 spells an HTML tag so.
        if (Ends("<|tool_response>") && Ends("</s>"))
        {
            int tag = FindName("</s>")!.Value;
            EndOfGeneration[tag] = false;
            Attributes[tag] = TokenAttributes.Normal;
        }
    }

    private bool Ends(string name) => FindName(name) is { } id && EndOfGeneration[id];

    // Files do not say which special tokens take the white space beside them; models do.
    private void SetStripping()
    {
        string pre = _source.PreTokenizer ?? "";
        bool ModelIs(string name) => _source.ModelName.Contains(name, StringComparison.OrdinalIgnoreCase);
        if (pre.Contains("jina-v2-de", StringComparison.Ordinal) || pre.Contains("jina-v2-es", StringComparison.Ordinal)
            || pre.Contains("jina-v2-code", StringComparison.Ordinal) || _source.Architecture.Contains("nomic-bert-moe", StringComparison.Ordinal)
            || _source.Architecture.Contains("jina-bert-v3", StringComparison.Ordinal))
        {
            Set("<mask>", TokenAttributes.StripLeft, true);
        }
        else if (ModelIs("phi-3") || ModelIs("phi3"))
        {
            for (int id = 0; id < Attributes.Length; id++)
                if ((Attributes[id] & AnySpecial) != 0) Attributes[id] |= TokenAttributes.StripRight;
            Set("</s>", TokenAttributes.StripRight, true);
            foreach (string name in (string[])["<unk>", "<s>", "<|endoftext|>"]) Set(name, TokenAttributes.StripRight, false);
        }
        else if (ModelIs("modern-bert"))
        {
            Set("[MASK]", TokenAttributes.StripLeft, true);
        }

        void Set(string name, TokenAttributes attribute, bool value)
        {
            if (FindName(name) is not { } id) return;
            Attributes[id] = value ? Attributes[id] | attribute : Attributes[id] & ~attribute;
        }
    }

    private bool Available(bool wanted, int? id, string role)
    {
        if (wanted && id is null) _warnings.Add($"Prompts should have a token at their {role}, but the vocabulary names none; prompts get none.");
        return wanted && id is not null;
    }
}
