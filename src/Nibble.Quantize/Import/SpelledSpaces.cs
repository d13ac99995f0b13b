namespace Nibble.Quantize.Import;

/// <summary>Tokenizers that spell spaces U+2581, as SentencePiece does: how <c>tokenizer.json</c> says so.</summary>
/// <param name="AddsPrefix">Whether text gets a space before it.</param>
internal sealed record SpelledSpaces(bool AddsPrefix)
{
    private const string Space = "\u2581";

    /// <summary>What a file says; null where it spells spaces otherwise.</summary>
    /// <exception cref="ImportException">It changes text in a way that GGUF has not.</exception>
    public static SpelledSpaces? Find(JsonFields tokenizer)
    {
        bool replaces = false, prepends = false;
        if (tokenizer.FindObject("normalizer") is { } normalizer)
            foreach (JsonFields step in Steps(normalizer, "normalizers"))
            {
                string type = step.Text("type");
                if (type == "Replace" && step.FindText("content") == Space && step.FindObject("pattern")?.FindText("String") == " ") replaces = true;
                else if (type == "Prepend" && step.FindText("prepend") == Space) prepends = true;
            }

        if (tokenizer.FindObject("pre_tokenizer") is { } pre)
            foreach (JsonFields step in Steps(pre, "pretokenizers"))
            {
                if (step.Text("type") != "Metaspace") continue;
                if ((step.FindText("replacement") ?? Space) != Space) throw step.Error("replacement", "U+2581 is needed");
                replaces = true;
                prepends |= step.FindText("prepend_scheme") is { } scheme ? scheme != "never" : step.Flag("add_prefix_space", true);
            }

        return replaces ? new SpelledSpaces(prepends) : null;
    }

    private static IEnumerable<JsonFields> Steps(JsonFields step, string list) => step.Text("type") == "Sequence" ? step.Objects(list) : [step];
}
