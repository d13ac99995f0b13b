namespace Nibble.Llm.Tokenizers.PreTokenizers;

/// <summary>The chains of steps that models use. Facts of each: the model's tokenizer.json, as llama.cpp v0.5.0 applies it.</summary>
internal static class PreTokenizers
{
    private static readonly RunSplitter SingleNewlines = new((codePoint, _) => codePoint is '\r' or '\n') { Maximum = 1 };
    private static readonly RunSplitter SingleNumbers = new(RunSplitter.Of(CodePointClass.Number)) { Maximum = 1 };
    private static readonly RunSplitter ThreeNumbers = new(RunSplitter.Of(CodePointClass.Number)) { Maximum = 3 };
    private static readonly RunSplitter NumberRuns = new(RunSplitter.Of(CodePointClass.Number));
    private static readonly RunSplitter DigitTriples = new((codePoint, _) => codePoint is >= '0' and <= '9') { Minimum = 3, Maximum = 3 };
    private static readonly RunSplitter HanAndKana = new(RunSplitter.Of(ScriptSets.HanAndKana));
    private static readonly RunSplitter EastAsian = new(RunSplitter.Of(ScriptSets.DeepSeekEastAsian));
    private static readonly RunSplitter BloomWords = new(RunSplitter.OtherThanWhitespaceAnd(ScriptSets.BloomSeparators)) { Prefix = RunPrefix.Space };
    private static readonly LineFeedSplitter LineFeeds = new();

    private static readonly WordRules Gpt2Rules = new()
    {
        Contractions = Contractions.LowerCase,
        Words = WordShape.SpaceLetters,
        Digits = int.MaxValue,
        DigitsTakeSpace = true,
        SymbolTail = SymbolTail.None,
        Spacing = Spacing.Runs,
    };

    private static readonly WordRules DeepSeek3Rules = new()
    {
        Contractions = Contractions.None,
        Words = WordShape.PunctuatedLetters,
        Digits = 0,
        StrictSymbols = true,
    };

    private static readonly WordRules CasedRules = new()
    {
        Contractions = Contractions.Suffix,
        Words = WordShape.CasedLetters,
        Digits = 3,
        SymbolTail = SymbolTail.NewlinesAndSlashes,
    };

    private static readonly WordSplitter Gpt2Words = new(Gpt2Rules);
    private static readonly WordSplitter Qwen2Words = new(new WordRules());
    private static readonly WordSplitter DeepSeek3Words = new(DeepSeek3Rules);

    public static PreTokenizer Default { get; } =
        new(new RunSplitter(RunSplitter.Of(CodePointClass.Punctuation, "$+<=>^~|")), Gpt2Words, NumberRuns, DigitTriples);

    public static PreTokenizer Gpt2 { get; } = new(Gpt2Words);

    public static PreTokenizer SingleDigitGpt2 { get; } = new(SingleNumbers, Gpt2Words);

    public static PreTokenizer Falcon { get; } =
        new(new RunSplitter(RunSplitter.Of(CodePointClass.Punctuation, "$+<=>^~|`")), Gpt2Words, DigitTriples);

    public static PreTokenizer Llama3 { get; } = new(new WordSplitter(new WordRules { Digits = 3 }));

    public static PreTokenizer Jais2 { get; } = new(new WordSplitter(new WordRules { Digits = 3, Spacing = Spacing.NewlinesThenPowersOfTwo }));

    public static PreTokenizer MiniCpm5 { get; } = new(ThreeNumbers, new WordSplitter(new WordRules { Digits = int.MaxValue }));

    public static PreTokenizer Qwen2 { get; } = new(Qwen2Words);

    public static PreTokenizer Qwen35 { get; } =
        new(new WordSplitter(new WordRules { Words = WordShape.LettersAndMarks, SymbolsWithoutMarks = true }));

    public static PreTokenizer Laguna { get; } = new(LineFeeds, Qwen2Words);

    public static PreTokenizer SeedCoder { get; } = new(new WordSplitter(new WordRules { SymbolTail = SymbolTail.None }));

    public static PreTokenizer UfakZeka { get; } = new(new WordSplitter(new WordRules { Contractions = Contractions.None }));

    public static PreTokenizer ExaoneMoe { get; } =
        new(new WordSplitter(new WordRules { Words = WordShape.Phrases, SymbolTail = SymbolTail.OneNewlineOrSlash }));

    public static PreTokenizer DeepSeekLlm { get; } = new(
        SingleNewlines,
        new RunSplitter(RunSplitter.Of(ScriptSets.DeepSeekLetters)) { Prefix = RunPrefix.Whitespace },
        new RunSplitter(RunSplitter.Of(ScriptSets.DeepSeekPunctuation)) { Prefix = RunPrefix.Whitespace },
        new TrailingWhitespaceSplitter(),
        EastAsian,
        NumberRuns);

    public static PreTokenizer DeepSeekCoder { get; } = new(
        SingleNewlines,
        new RunSplitter(RunSplitter.Of(CodePointClass.Letter)) { Prefix = RunPrefix.Whitespace },
        new RunSplitter(RunSplitter.Of(CodePointClass.Punctuation)) { Prefix = RunPrefix.Whitespace },
        EastAsian,
        SingleNumbers);

    public static PreTokenizer DeepSeek3 { get; } = new(ThreeNumbers, HanAndKana, DeepSeek3Words);

    public static PreTokenizer Spark { get; } = new(
        ThreeNumbers,
        HanAndKana,
        new WordSplitter(DeepSeek3Rules with { SymbolTail = SymbolTail.None, Spacing = Spacing.SingleNewlinesThenRuns }),
        SingleNumbers);

    public static PreTokenizer Afmoe { get; } =
        new(new RightAlignedDigitSplitter(), new RunSplitter(RunSplitter.Of(ScriptSets.WithoutSpaces)), DeepSeek3Words);

    public static PreTokenizer Youtu { get; } = new(
        new RunSplitter(
            RunSplitter.Of(ScriptSets.Hangul),
            RunSplitter.Of(ScriptSets.WidePunctuation),
            RunSplitter.Of(ScriptSets.Bopomofo),
            RunSplitter.Of(ScriptSets.HanAndKana)),
        new WordSplitter(CasedRules with { Words = WordShape.LettersAndMarks, Digits = 1 }));

    public static PreTokenizer TinyAya { get; } =
        new(new RightAlignedDigitSplitter(), new WordSplitter(CasedRules with { Words = WordShape.LettersAndMarks }));

    public static PreTokenizer Gpt4O { get; } = new(new WordSplitter(CasedRules));

    public static PreTokenizer GraniteEmbedding { get; } = new(new WordSplitter(CasedRules with { Words = WordShape.CasedLettersAndMarks }));

    public static PreTokenizer Tekken { get; } = new(new WordSplitter(CasedRules with { Contractions = Contractions.None, Digits = 1 }));

    public static PreTokenizer KimiK2 { get; } =
        new(new WordSplitter(new WordRules { Contractions = Contractions.Suffix, Words = WordShape.HanOrLetters, Digits = 3 }));

    public static PreTokenizer Bloom { get; } = new(BloomWords);

    public static PreTokenizer Viking { get; } = new(BloomWords, SingleNumbers);

    public static PreTokenizer Chameleon { get; } = new(
        new ChameleonSplitter(ChameleonSplitter.Part.Sentinel),
        new ChameleonSplitter(ChameleonSplitter.Part.Image),
        new ChameleonSplitter(ChameleonSplitter.Part.Indentation),
        SingleNumbers,
        new RunSplitter(RunSplitter.Of(CodePointClass.Punctuation, "!-/:-@[-`{-~")) { Maximum = 1 },
        Gpt2Words);

    public static PreTokenizer SuperBpe { get; } = new(NumberRuns, new DigitBoundarySplitter());

    public static PreTokenizer Lines { get; } = new(LineFeeds);

    public static PreTokenizer Whitespace { get; } = new(new RunSplitter((_, c) => (c & CodePointClass.Whitespace) == 0));
}
