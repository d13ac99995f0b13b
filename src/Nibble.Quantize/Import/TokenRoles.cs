using System.Text.Json;

namespace Nibble.Quantize.Import;

/// <summary>Which tokens have a role, and which of them a prompt begins and ends with.</summary>
internal sealed class TokenRoles
{
    // Role in transformers, and GGUF's name; the misspelling is GGUF's.
    private static readonly (string Role, string Key)[] s_roles = [("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("sep", "seperator"), ("pad", "padding"), ("mask", "mask")];

    // Classes whose tokenizers begin a prompt with a BOS token where nothing says otherwise.
    private static readonly string[] s_bosClasses = ["LlamaTokenizer", "LlamaTokenizerFast", "GemmaTokenizer", "GemmaTokenizerFast", "CodeLlamaTokenizer", "CodeLlamaTokenizerFast"];

    private readonly List<(string Key, int Id)> _ids = [];

    /// <summary>Reads them.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="tokenizer"><c>tokenizer.json</c>, or null.</param>
    /// <param name="settings"><c>tokenizer_config.json</c>, or null.</param>
    /// <param name="tokens">The tokens.</param>
    /// <param name="pieces">The SentencePiece model, or null.</param>
    public TokenRoles(CheckpointFolder folder, JsonFields? tokenizer, JsonFields? settings, TokenList tokens, SentencePieceModel? pieces)
    {
        JsonFields? generation = JsonFields.ReadIfThere(folder.PathOf("generation_config.json"));
        foreach ((string role, string key) in s_roles)
        {
            int? id = settings is null ? null : Named(settings, role + "_token", tokens);
            id ??= Numbered(folder.Config, role + "_token_id", tokens) ?? (generation is null ? null : Numbered(generation, role + "_token_id", tokens));
            if (pieces is not null)
            {
                int own = role switch { "bos" => pieces.Roles.Bos, "eos" => pieces.Roles.Eos, "unk" => pieces.Roles.Unknown, "pad" => pieces.Roles.Padding, _ => -1 };
                if (own >= 0 && own < tokens.Texts.Length) id ??= own;
            }

            if (role == "unk" && id is null && tokenizer?.FindObject("model")?.FindText("unk_token") is { } unknown) id = tokens.Find(unknown);
            if (id is { } known) _ids.Add((key, known));
        }

        (bool Bos, bool Eos)? ends = tokenizer is null ? null : PromptEnds(tokenizer, tokens);
        string? kind = settings?.FindText("tokenizer_class");
        bool isBosClass = kind is not null && s_bosClasses.Contains(kind);
        AddsBos = settings?.FindFlag("add_bos_token") ?? (isBosClass ? true : ends?.Bos);
        AddsEos = settings?.FindFlag("add_eos_token") ?? (isBosClass ? false : ends?.Eos);
    }

    /// <summary>Ids by GGUF's name of the role.</summary>
    public IReadOnlyList<(string Key, int Id)> Ids => _ids;

    /// <summary>Whether a prompt begins with the BOS token; null where nothing says so.</summary>
    public bool? AddsBos { get; }

    /// <summary>Whether a prompt ends with the EOS token; null where nothing says so.</summary>
    public bool? AddsEos { get; }

    /// <summary>The id of a role, or null.</summary>
    public int? Find(string key)
    {
        foreach ((string known, int id) in _ids)
            if (known == key) return id;
        return null;
    }

    private static int? Named(JsonFields settings, string name, TokenList tokens)
    {
        if (settings.Find(name) is not { } value) return null;
        // A text, or an object as files of transformers 4 have it.
        string? content = value.ValueKind == JsonValueKind.Object ? settings.Object(name).FindText("content") : settings.FindText(name);
        return content is null ? null : tokens.Find(content) ?? throw settings.Error(name, "the vocabulary has no such token");
    }

    private static int? Numbered(JsonFields config, string name, TokenList tokens)
    {
        // Models with several end tokens have an array; the first is GGUF's.
        if (config.Find(name) is { ValueKind: JsonValueKind.Array } list)
            return list.GetArrayLength() > 0 && list[0].ValueKind == JsonValueKind.Number && list[0].TryGetInt32(out int first) && first >= 0 && first < tokens.Texts.Length ? first : throw config.Error(name, $"ids from 0 to {tokens.Texts.Length - 1} are needed");
        // transformers writes -1 for none in a few.
        int? id = config.FindInteger(name, -1, int.MaxValue);
        return id is null or -1 ? null : id < tokens.Texts.Length ? id : throw config.Error(name, $"an id from 0 to {tokens.Texts.Length - 1} is needed");
    }

    // What the post-processor puts before and behind a text.
    private (bool Bos, bool Eos) PromptEnds(JsonFields tokenizer, TokenList tokens)
    {
        bool bos = false, eos = false;
        if (tokenizer.FindObject("post_processor") is not { } processor) return (false, false);
        foreach (JsonFields step in processor.Text("type") == "Sequence" ? processor.Objects("processors") : [processor])
        {
            if (step.Text("type") != "TemplateProcessing") continue;
            JsonFields[] single = [.. step.Objects("single")];
            if (single.Length < 2) continue;
            bos |= single[0].FindObject("SpecialToken")?.Text("id") is { } first && tokens.Find(first) is { } begin && begin == Find("bos");
            eos |= single[^1].FindObject("SpecialToken")?.Text("id") is { } last && tokens.Find(last) is { } end && end == Find("eos");
        }

        return (bos, eos);
    }
}
