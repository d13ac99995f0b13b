using System.Text;
using System.Text.Json;

namespace Nibble.Quantize.Import;

/// <summary>
/// The name that GGUF has for what <c>tokenizer.json</c> describes as its pre-tokenizer. The description becomes a line of text in one spelling, which is looked up in a table; what is not there
/// is an error that prints the line.
/// </summary>
internal static class PreTokenizerNames
{
    private const string Contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
    private const string Words = @"[^\r\n\p{L}\p{N}]?\p{L}+";
    private const string Tail = @" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    private const string CasedTail = @" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    private const string CasedStart = @"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+";
    private const string CasedRest = @"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*";
    private const string Gpt2 = @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
    private const string DeepSeek3 = @"[!""#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    // The bool is tokenizer.json's ignore_merges, which goes with the name; null for either.
    private static readonly (string Name, bool? IgnoresMerges, string[] Steps)[] s_lines =
    [
        ("gpt-2", false, [Gpt2]),
        ("smollm", false, [@"\p{N}", Gpt2]),
        ("llama-bpe", true, [$@"{Contractions}|{Words}|\p{{N}}{{1,3}}|{Tail}"]),
        ("dbrx", false, [$@"{Contractions}|{Words}|\p{{N}}{{1,3}}|{Tail}"]),
        ("qwen2", false, [$@"{Contractions}|{Words}|\p{{N}}|{Tail}"]),
        ("qwen35", false, [$@"{Contractions}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]),
        ("tekken", true, [$@"{CasedStart}|{CasedRest}|\p{{N}}|{CasedTail}"]),
        ("gpt-4o", false, [$@"{CasedStart}{Contractions}?|{CasedRest}{Contractions}?|\p{{N}}{{1,3}}|{CasedTail}"]),
        ("minicpm5", true, [@"\p{N}{1,3}", $@"{Contractions}|{Words}|\p{{N}}+|{Tail}"]),
        ("seed-coder", false, [$@"{Contractions}|{Words}|\p{{N}}{{1}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"]),
        ("deepseek-coder", false, [@"[\r\n]", @"\s?\p{L}+", @"\s?\p{P}+", "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+", @"\p{N}"]),
        ("deepseek-v3", false, [@"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", DeepSeek3]),
    ];

    /// <summary>The names in the table.</summary>
    public static IEnumerable<string> Names => s_lines.Select(line => line.Name);

    /// <summary>The name of a byte-level pre-tokenizer.</summary>
    /// <param name="tokenizer"><c>tokenizer.json</c>.</param>
    /// <param name="ignoresMerges">Its model's <c>ignore_merges</c>.</param>
    /// <exception cref="ImportException">It is not in the table.</exception>
    public static string Of(JsonFields tokenizer, bool ignoresMerges)
    {
        List<string> steps = [];
        bool isByteLevel = false;
        Collect(tokenizer, tokenizer.FindObject("pre_tokenizer"), steps, ref isByteLevel);
        string text = $"{(steps.Count == 0 ? "no split" : string.Join("  then  ", steps))}{(isByteLevel ? string.Empty : "  without bytes as characters")}, ignore_merges {(ignoresMerges ? "true" : "false")}";
        if (isByteLevel)
        {
            foreach ((string name, bool? ignores, string[] known) in s_lines)
                if ((ignores is null || ignores == ignoresMerges) && known.SequenceEqual(steps)) return name;
        }

        throw new ImportException(tokenizer.File, $"pre_tokenizer is not one that is known: {text}. Known are {string.Join(", ", Names.Order(StringComparer.Ordinal))}.");
    }

    private static void Collect(JsonFields tokenizer, JsonFields? step, List<string> steps, ref bool isByteLevel)
    {
        if (step is null) return;
        string type = step.Text("type");
        switch (type)
        {
            case "Sequence":
                foreach (JsonFields part in step.Objects("pretokenizers")) Collect(tokenizer, part, steps, ref isByteLevel);
                break;
            case "ByteLevel":
                isByteLevel = true;
                if (step.Flag("add_prefix_space", true)) throw step.Error("add_prefix_space", "GGUF's byte-level tokenizers add no space; false is needed");
                if (step.Flag("use_regex", true)) steps.Add(Gpt2);
                break;
            case "Digits":
                steps.Add(step.Flag("individual_digits", false) ? @"\p{N}" : @"\p{N}+");
                break;
            case "Split":
                steps.Add(Split(step));
                break;
            default:
                // What is not known becomes a step of its own that no line of the table has.
                steps.Add(Shortened(step.Element.GetRawText()));
                break;
        }
    }

    private static string Split(JsonFields step)
    {
        JsonElement? pattern = step.Find("pattern");
        bool isRegex = pattern is { ValueKind: JsonValueKind.Object } && pattern.Value.TryGetProperty("Regex", out JsonElement regex) && regex.ValueKind == JsonValueKind.String;
        string behavior = step.FindText("behavior") ?? string.Empty;
        bool inverts = step.Flag("invert", false);
        // To keep what matches apart, or to take away what does not match a pattern that matches everything, is the same.
        bool keepsAll = (behavior == "Isolated" && !inverts) || (behavior == "Removed" && inverts);
        if (!isRegex || !keepsAll) return Shortened(step.Element.GetRawText());
        return Normalize(step.Object("pattern").Text("Regex"));
    }

    /// <summary>One spelling of what patterns write in several.</summary>
    public static string Normalize(string pattern)
    {
        StringBuilder text = new(pattern.Length);
        foreach (char c in pattern) text.Append(c switch { '\r' => @"\r", '\n' => @"\n", '\t' => @"\t", _ => c.ToString() });
        return text.ToString()
            .Replace("(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])", Contractions, StringComparison.Ordinal)
            .Replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)", Contractions, StringComparison.Ordinal);
    }

    private static string Shortened(string json)
    {
        string text = string.Join(' ', json.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
        return text.Length <= 400 ? text : text[..400] + "...";
    }
}
