using Nibble.Core.Gguf;

namespace Nibble.Llm.Tokenizers;

/// <summary>What a model file says about its tokenizer, before anything is concluded from it. Tests make one without a file.</summary>
public sealed record VocabularySource
{
    /// <summary><c>tokenizer.ggml.model</c>: <c>llama</c>, <c>gpt2</c>, <c>gemma4</c> or <c>bert</c>.</summary>
    public required string Model { get; init; }

    /// <summary><c>tokenizer.ggml.pre</c>: the pre-tokenizer of byte-pair encoding; null where the file has none.</summary>
    public string? PreTokenizer { get; init; }

    /// <summary><c>tokenizer.ggml.tokens</c>: the spelling of each token.</summary>
    public required PieceTable Pieces { get; init; }

    /// <summary><c>tokenizer.ggml.scores</c>; null for all 0.</summary>
    public float[]? Scores { get; init; }

    /// <summary><c>tokenizer.ggml.token_type</c>: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte; null for all normal.</summary>
    public int[]? Types { get; init; }

    /// <summary><c>tokenizer.ggml.merges</c>: two pieces with a space between, the first merge first.</summary>
    public PieceTable? Merges { get; init; }

    /// <summary>The ids that the file names.</summary>
    public SpecialTokenIds Special { get; init; } = new();

    /// <summary><c>tokenizer.ggml.add_bos_token</c>.</summary>
    public bool? AddBos { get; init; }

    /// <summary><c>tokenizer.ggml.add_eos_token</c>.</summary>
    public bool? AddEos { get; init; }

    /// <summary><c>tokenizer.ggml.add_space_prefix</c>.</summary>
    public bool? AddSpacePrefix { get; init; }

    /// <summary><c>tokenizer.ggml.normalizer.lowercase</c>: WordPiece only.</summary>
    public bool? Lowercase { get; init; }

    /// <summary><c>tokenizer.ggml.normalizer.strip_accents</c>: WordPiece only.</summary>
    public bool? StripAccents { get; init; }

    /// <summary><c>general.name</c>: white space around special tokens depends on it for a few models.</summary>
    public string ModelName { get; init; } = "";

    /// <summary><c>general.architecture</c>.</summary>
    public string Architecture { get; init; } = "";

    /// <summary>Reads a file's metadata.</summary>
    /// <exception cref="TokenizerException">A key is missing or holds another type than it should.</exception>
    public static VocabularySource FromMetadata(GgufMetadata metadata)
    {
        try
        {
            return Read(metadata);
        }
        catch (GgufException e)
        {
            throw new TokenizerException($"The file holds no usable tokenizer: {e.Message}", e);
        }
    }

    private static VocabularySource Read(GgufMetadata metadata) => new()
    {
        Model = metadata.GetString("tokenizer.ggml.model"),
        PreTokenizer = metadata.FindString("tokenizer.ggml.pre"),
        Pieces = PieceTable.From(metadata.GetStrings("tokenizer.ggml.tokens")),
        Scores = ReadScores(metadata),
        Types = metadata.FindInt32Array("tokenizer.ggml.token_type"),
        Merges = metadata.FindStrings("tokenizer.ggml.merges") is { } merges ? PieceTable.From(merges) : null,
        Special = new SpecialTokenIds
        {
            Bos = Id(metadata, "bos_token_id"),
            Eos = Id(metadata, "eos_token_id"),
            Eot = Id(metadata, "eot_token_id"),
            Eom = Id(metadata, "eom_token_id"),
            Unknown = Id(metadata, "unknown_token_id"),
            Separator = Id(metadata, "seperator_token_id"), // the key is misspelled in all files
            Padding = Id(metadata, "padding_token_id"),
            Mask = Id(metadata, "mask_token_id"),
            FimPrefix = Id(metadata, "fim_pre_token_id") ?? Id(metadata, "prefix_token_id"),
            FimSuffix = Id(metadata, "fim_suf_token_id") ?? Id(metadata, "suffix_token_id"),
            FimMiddle = Id(metadata, "fim_mid_token_id") ?? Id(metadata, "middle_token_id"),
            FimPadding = Id(metadata, "fim_pad_token_id"),
            FimRepository = Id(metadata, "fim_rep_token_id"),
            FimSeparator = Id(metadata, "fim_sep_token_id"),
        },
        AddBos = metadata.FindBoolean("tokenizer.ggml.add_bos_token"),
        AddEos = metadata.FindBoolean("tokenizer.ggml.add_eos_token"),
        AddSpacePrefix = metadata.FindBoolean("tokenizer.ggml.add_space_prefix"),
        Lowercase = metadata.FindBoolean("tokenizer.ggml.normalizer.lowercase"),
        StripAccents = metadata.FindBoolean("tokenizer.ggml.normalizer.strip_accents"),
        ModelName = metadata.GetString("general.name", ""),
        Architecture = metadata.GetString("general.architecture", ""),
    };

    // An id that does not fit an int is out of any vocabulary's range; the vocabulary warns about it.
    private static int? Id(GgufMetadata metadata, string name) =>
        metadata.FindUInt32("tokenizer.ggml." + name) is { } id ? (int)Math.Min(id, int.MaxValue) : null;

    private static float[]? ReadScores(GgufMetadata metadata)
    {
        const string Key = "tokenizer.ggml.scores";
        if (!metadata.TryGetValue(Key, out GgufValue value)) return null;
        bool isInteger = value.Type == GgufValueType.Array && value.ElementType == GgufValueType.Int32;
        return isInteger ? Array.ConvertAll(metadata.GetInt32Array(Key), score => (float)score) : metadata.FindFloat32Array(Key);
    }
}
