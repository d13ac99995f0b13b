namespace Nibble.Llm.Tokenizers;

/// <summary>Tokens whose role files leave unsaid and their spelling tells, as llama.cpp v0.5.0 knows them.</summary>
internal static class SpecialTokenNames
{
    /// <summary>End of a turn; of several the first counts.</summary>
    public static readonly string[] EndOfTurn =
    [
        "<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<EOT>", "_<EOT>", "[EOT]",
        "<\uFF5Cend\u2581of\u2581sentence\uFF5C>", "<end_of_utterance>",
    ];

    /// <summary>End of a message.</summary>
    public static readonly string[] EndOfMessage = ["<|eom_id|>"];

    /// <summary>Fill in the middle: before the prefix.</summary>
    public static readonly string[] FimPrefix =
    [
        "<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<\uFF5Cfim\u2581begin\uFF5C>", "<PRE>", "\u2581<PRE>", "<|code_prefix|>", "<|prefix|>",
    ];

    /// <summary>Fill in the middle: before the suffix.</summary>
    public static readonly string[] FimSuffix =
    [
        "<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<\uFF5Cfim\u2581hole\uFF5C>", "<SUF>", "\u2581<SUF>", "<|code_suffix|>", "<|suffix|>",
    ];

    /// <summary>Fill in the middle: before the answer.</summary>
    public static readonly string[] FimMiddle =
    [
        "<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<\uFF5Cfim\u2581end\uFF5C>", "<MID>", "\u2581<MID>", "<|code_middle|>", "<|middle|>",
    ];

    /// <summary>Fill in the middle: padding.</summary>
    public static readonly string[] FimPadding = ["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"];

    /// <summary>Before a repository's name.</summary>
    public static readonly string[] FimRepository = ["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"];

    /// <summary>Before a file.</summary>
    public static readonly string[] FimSeparator = ["<|file_sep|>"];

    /// <summary>All of these end an answer.</summary>
    public static readonly string[] EndOfGeneration =
    [
        "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>", "<|endoftext|>", "</s>", "<|eom_id|>",
        "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>",
        "<\uFF5Cend\u2581of\u2581sentence\uFF5C>", "[e~[",
    ];

    /// <summary>Parts of an answer in the harmony format, which programs need to see.</summary>
    public static readonly string[] Shown = ["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"];
}
