using System.Text;
using System.Text.Json;
using Nibble.Core.Gguf;
using Nibble.Llm.Tokenizers;

namespace Nibble.Quantize.Import;

/// <summary>The tokenizer of a folder as <c>tokenizer.ggml.*</c>: <c>tokenizer.json</c> or <c>tokenizer.model</c> for the tokens, <c>tokenizer_config.json</c> for roles and template.</summary>
/// <remarks>Keys and types: llama.cpp v0.5.0, gguf-py/gguf/vocab.py and conversion/base.py.</remarks>
internal sealed class TokenizerImport
{
    private readonly ImportPlan _plan;
    private readonly CheckpointFolder _folder;
    private readonly JsonFields? _tokenizer;
    private readonly JsonFields? _settings;
    private readonly TokenList _tokens;
    private string _model = "gpt2";
    private string? _pre;
    private List<string>? _merges;
    private bool? _addsSpacePrefix;
    private SentencePieceModel? _pieces;

    private TokenizerImport(ImportPlan plan, CheckpointFolder folder, int count)
    {
        _plan = plan;
        _folder = folder;
        _tokenizer = JsonFields.ReadIfThere(folder.PathOf("tokenizer.json"));
        _settings = JsonFields.ReadIfThere(folder.PathOf("tokenizer_config.json"));
        _tokens = new TokenList(count);
    }

    /// <summary>Adds the keys.</summary>
    /// <param name="plan">The file.</param>
    /// <param name="folder">The folder.</param>
    /// <param name="count">Tokens that the model has; ids without a token become unused ones.</param>
    /// <exception cref="ImportException">The tokenizer is missing, contradicts itself, or is of a kind that GGUF has not.</exception>
    public static void Add(ImportPlan plan, CheckpointFolder folder, int count) => new TokenizerImport(plan, folder, count).Add();

    private void Add()
    {
        bool hasPieces = File.Exists(_folder.PathOf("tokenizer.model"));
        if (_tokenizer is null && !hasPieces) throw new ImportException("tokenizer.json", "the folder has neither this file nor tokenizer.model; one of them is needed.");
        if (_tokenizer is not null && SpelledSpaces.Find(_tokenizer) is null) ReadByteLevel(_tokenizer);
        else ReadSpelledSpaces(hasPieces);
        ReadAddedTokens();
        Write();
    }

    private static List<string> Merges(JsonFields model)
    {
        List<string> merges = [];
        foreach (JsonElement merge in model.Elements("merges"))
        {
            // Old files have "a b", new ones ["a", "b"].
            string? text = JsonFields.TextOf(merge);
            if (merge.ValueKind == JsonValueKind.Array && merge.GetArrayLength() == 2 && JsonFields.TextOf(merge[0]) is { } left && JsonFields.TextOf(merge[1]) is { } right)
                text = $"{left.Replace(' ', '\u0120')} {right.Replace(' ', '\u0120')}";
            if (string.IsNullOrEmpty(text) || text.AsSpan(1..).Count(' ') != 1) throw new ImportException(model.File, $"model.merges[{merges.Count}] is {merge.GetRawText()}; two pieces are needed.");
            merges.Add(text);
        }

        return merges;
    }

    private static JsonFields PairModel(JsonFields tokenizer)
    {
        JsonFields model = tokenizer.Object("model");
        string type = model.FindText("type") ?? "BPE";
        return type == "BPE" ? model : throw model.Error("type", "only BPE can be imported");
    }

    private void ReadByteLevel(JsonFields tokenizer)
    {
        JsonFields model = PairModel(tokenizer);
        string? normalizer = tokenizer.FindObject("normalizer")?.Text("type");
        if (normalizer is "NFC") _plan.Note("tokenizer.json normalizes text to NFC, which GGUF's runtimes do not do.");
        else if (normalizer is not null) throw tokenizer.Object("normalizer").Error("type", "none, or NFC, is needed: GGUF's byte-level tokenizers change no text");
        _pre = PreTokenizerNames.Of(tokenizer, model.Flag("ignore_merges", false));
        foreach ((string piece, JsonElement id) in model.Object("vocab").All) _tokens.Set(model.File, Id(model.File, piece, id), piece, 1, 0);
        _merges = Merges(model);
        _plan.Note($"tokenizer: byte-level BPE, pre-tokenizer '{_pre}'.");
    }

    private void ReadSpelledSpaces(bool hasPieces)
    {
        _model = "llama";
        _pre = "default";
        SpelledSpaces? spaces = _tokenizer is null ? null : SpelledSpaces.Find(_tokenizer);
        _addsSpacePrefix = spaces?.AddsPrefix;
        if (hasPieces)
        {
            _pieces = SentencePieceModel.Read(_folder.PathOf("tokenizer.model"));
            for (int id = 0; id < _pieces.Pieces.Count; id++)
            {
                SentencePieceModel.Piece piece = _pieces.Pieces[id];
                _tokens.Set("tokenizer.model", id, piece.Text, piece.Type, piece.Score);
            }

            _addsSpacePrefix ??= _settings?.FindFlag("add_prefix_space") ?? _pieces.AddsSpacePrefix;
            _plan.Note("tokenizer: SentencePiece, from tokenizer.model.");
            return;
        }

        // A token's score is the place of the first merge that makes it; SentencePiece's own files became merges by the same rule.
        JsonFields model = PairModel(_tokenizer!);
        string? unknown = model.FindText("unk_token");
        Dictionary<string, int> scores = new(StringComparer.Ordinal);
        int rank = 0;
        foreach (string merge in Merges(model))
        {
            int space = merge.IndexOf(' ', 1);
            scores.TryAdd(string.Concat(merge.AsSpan(0, space), merge.AsSpan(space + 1)), rank++);
        }

        foreach ((string piece, JsonElement id) in model.Object("vocab").All)
        {
            bool isByte = piece.Length == 6 && piece.StartsWith("<0x", StringComparison.Ordinal) && piece[5] == '>' && Uri.IsHexDigit(piece[3]) && Uri.IsHexDigit(piece[4]);
            int type = piece == unknown ? 2 : isByte ? 6 : 1;
            _tokens.Set(model.File, Id(model.File, piece, id), piece, type, scores.TryGetValue(piece, out int place) ? -place : type == 1 ? -rank : 0);
        }

        _plan.Note("tokenizer: SentencePiece-like BPE with spaces spelled U+2581, scores from the order of the merges.");
    }

    private static int Id(string file, string piece, JsonElement id) =>
        id.ValueKind == JsonValueKind.Number && id.TryGetInt32(out int value) && value >= 0 ? value : throw new ImportException(file, $"the id of token '{piece}' is {id.GetRawText()}; a whole number of 0 or more is needed.");

    private void ReadAddedTokens()
    {
        bool strips = false;
        void AddOne(string file, int id, string content, bool isSpecial)
        {
            if (content.Length == 0) return;
            bool isControl = isSpecial || TokenList.LooksSpecial(content);
            // SentencePiece's unknown token stays one.
            if (_tokens.TypeOf(id) == 2) return;
            // Runtimes look for these in text as people write it.
            _tokens.Set(file, id, isControl || _model == "gpt2" ? content : content.Replace('\u2581', ' '), isControl ? 3 : 4, _model == "gpt2" ? 0 : -1000);
        }

        if (_tokenizer is not null)
        {
            foreach (JsonFields token in _tokenizer.Objects("added_tokens"))
            {
                AddOne(token.File, token.Integer("id", 0, int.MaxValue), token.Text("content"), token.Flag("special", false));
                strips |= token.Flag("lstrip", false) || token.Flag("rstrip", false);
            }
        }
        else if (_settings?.FindObject("added_tokens_decoder") is { } decoder)
        {
            foreach ((string id, _) in decoder.All)
            {
                JsonFields token = decoder.Object(id);
                if (!int.TryParse(id, System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out int number)) throw decoder.Error(id, "its name must be a token's id");
                AddOne(decoder.File, number, token.Text("content"), token.Flag("special", false));
                strips |= token.Flag("lstrip", false) || token.Flag("rstrip", false);
            }
        }
        else if (JsonFields.ReadIfThere(_folder.PathOf("added_tokens.json")) is { } added)
        {
            foreach ((string content, JsonElement id) in added.All) AddOne(added.File, Id(added.File, content, id), content, isSpecial: false);
        }

        if (strips) _plan.Note("some added tokens take the white space beside them (lstrip, rstrip), which GGUF cannot say.");
    }

    private void Write()
    {
        GgufWriter writer = _plan.Writer;
        _tokens.Fill();
        writer.Set("tokenizer.ggml.model", _model);
        writer.Set("tokenizer.ggml.pre", _pre!);
        writer.Set("tokenizer.ggml.tokens", GgufValue.Array(_tokens.Texts));
        if (_model == "llama") writer.Set("tokenizer.ggml.scores", GgufValue.Array(_tokens.Scores));
        writer.Set("tokenizer.ggml.token_type", GgufValue.Array(_tokens.Types));
        if (_merges is not null) writer.Set("tokenizer.ggml.merges", GgufValue.Array(_merges));

        TokenRoles roles = new(_folder, _tokenizer, _settings, _tokens, _pieces);
        foreach ((string key, int id) in roles.Ids) writer.Set($"tokenizer.ggml.{key}_token_id", (uint)id);
        if (roles.AddsBos is { } addsBos) writer.Set("tokenizer.ggml.add_bos_token", addsBos);
        if (roles.AddsEos is { } addsEos) writer.Set("tokenizer.ggml.add_eos_token", addsEos);
        if (_addsSpacePrefix is { } addsSpace) writer.Set("tokenizer.ggml.add_space_prefix", addsSpace);
        foreach ((string name, string template) in ChatTemplates.Read(_folder, _settings))
            writer.Set(name.Length == 0 ? "tokenizer.chat_template" : $"tokenizer.chat_template.{name}", template);
        Check(roles);
    }

    // The runtime's own checks, so that a tokenizer that would not load is not written.
    private void Check(TokenRoles roles)
    {
        try
        {
            Tokenizer tokenizer = Tokenizer.Create(new VocabularySource
            {
                Model = _model,
                PreTokenizer = _pre,
                Pieces = PieceTable.From(_tokens.Texts),
                Scores = _model == "llama" ? _tokens.Scores : null,
                Types = _tokens.Types,
                Merges = _merges is null ? null : PieceTable.From(_merges),
                Special = new SpecialTokenIds { Bos = roles.Find("bos"), Eos = roles.Find("eos"), Unknown = roles.Find("unknown"), Padding = roles.Find("padding") },
                AddBos = roles.AddsBos,
                AddEos = roles.AddsEos,
                AddSpacePrefix = _addsSpacePrefix,
                Architecture = _plan.Architecture,
            });
            foreach (string warning in tokenizer.Warnings) _plan.Note(warning);
        }
        catch (TokenizerException error)
        {
            throw new ImportException(_tokenizer?.File ?? "tokenizer.model", error.Message);
        }
    }
}
