namespace Nibble.Llm.Tokenizers.PreTokenizers;

/// <summary>The main step of most pre-tokenizers: contractions, words, numbers, symbols and white space by <see cref="WordRules"/>.</summary>
internal sealed class WordSplitter(WordRules rules) : MatchSplitter
{
    private const CodePointClass Letter = CodePointClass.Letter;
    private const CodePointClass Number = CodePointClass.Number;
    private const CodePointClass Mark = CodePointClass.Mark;
    private const CodePointClass Whitespace = CodePointClass.Whitespace;

    private static readonly CodePointSet Han = new("\u4E00-\u9FFF\u3400-\u4DBF\U00020000-\U0002A6DF\U0002A700-\U0002EBEF\uF900-\uFAFF\U0002F800-\U0002FA1F");

    private readonly CodePointClass _notInSymbols = Letter | Number | Whitespace | (rules.SymbolsWithoutMarks ? Mark : 0);

    /// <inheritdoc/>
    protected override int Match(ref PieceReader piece, int start)
    {
        int end = -1;
        if (rules.Contractions is Contractions.LowerCase or Contractions.AnyCase) end = Contraction(ref piece, start);
        if (end < 0) end = Word(ref piece, start);
        if (end < 0) end = Digits(ref piece, start);
        if (end < 0) end = Symbols(ref piece, start);
        if (end < 0 && piece.Is(start, Whitespace)) end = Space(ref piece, start);
        return end;
    }

    private static bool IsHan(ref PieceReader piece, int index) => piece.CodePoint(index) is >= 0x3400 and int c && Han.Contains(c);

    private int Contraction(ref PieceReader piece, int start)
    {
        if (piece.CodePoint(start) != '\'') return -1;
        int fold = rules.Contractions == Contractions.LowerCase ? 0 : 0x20;
        return (piece.CodePoint(start + 1) | fold, piece.CodePoint(start + 2) | fold) switch
        {
            ('s' or 't' or 'm' or 'd', _) => start + 2,
            ('r' or 'v', 'e') or ('l', 'l') => start + 3,
            _ => -1,
        };
    }

    private int Word(ref PieceReader piece, int start)
    {
        int end = rules.Words switch
        {
            WordShape.SpaceLetters => SpacedRun(ref piece, start, Letter),
            WordShape.Letters => PrefixedRun(ref piece, start, Letter, Letter | Number),
            WordShape.LettersAndMarks => PrefixedRun(ref piece, start, Letter | Mark, Letter | Number),
            WordShape.CasedLetters => CasedRun(ref piece, start, Letter),
            WordShape.CasedLettersAndMarks => CasedRun(ref piece, start, Letter | Mark),
            WordShape.Phrases => Phrase(ref piece, start),
            WordShape.PunctuatedLetters => PunctuatedRun(ref piece, start),
            _ => HanOrLetters(ref piece, start),
        };
        if (rules.Contractions != Contractions.Suffix || end < 0 || (rules.Words == WordShape.HanOrLetters && IsHan(ref piece, start))) return end;
        int suffix = Contraction(ref piece, end);
        return suffix < 0 ? end : suffix;
    }

    private static int RunOrNone(ref PieceReader piece, int start, CodePointClass classes)
    {
        int end = piece.SkipWhile(start, classes);
        return end > start ? end : -1;
    }

    private static int SpacedRun(ref PieceReader piece, int start, CodePointClass classes) =>
        RunOrNone(ref piece, piece.CodePoint(start) == ' ' ? start + 1 : start, classes);

    private static bool IsPrefix(ref PieceReader piece, int index, CodePointClass notInPrefix) =>
        piece.IsOther(index, notInPrefix) && !piece.IsNewline(index);

    private static int PrefixedRun(ref PieceReader piece, int start, CodePointClass classes, CodePointClass notInPrefix)
    {
        int end = IsPrefix(ref piece, start, notInPrefix) ? RunOrNone(ref piece, start + 1, classes) : -1;
        return end >= 0 ? end : RunOrNone(ref piece, start, classes);
    }

    // U*L+ is tried before U+L*, each with the optional code point before it and then without.
    private static int CasedRun(ref PieceReader piece, int start, CodePointClass classes)
    {
        bool prefix = IsPrefix(ref piece, start, Letter | Number);
        int end = prefix ? UpperThenLower(ref piece, start + 1, classes) : -1;
        if (end < 0) end = UpperThenLower(ref piece, start, classes);
        if (end < 0 && prefix) end = UpperRun(ref piece, start + 1, classes);
        if (end < 0) end = UpperRun(ref piece, start, classes);
        return end;
    }

    private static bool IsUpper(ref PieceReader piece, int index, CodePointClass classes) =>
        piece.Is(index, classes) && piece.CodePoint(index) is not (>= 'a' and <= 'z');

    private static bool IsLower(ref PieceReader piece, int index, CodePointClass classes) =>
        piece.Is(index, classes) && piece.CodePoint(index) is not (>= 'A' and <= 'Z');

    private static int UpperThenLower(ref PieceReader piece, int start, CodePointClass classes)
    {
        int end = start;
        while (IsUpper(ref piece, end, classes)) end++;

        // The greedy upper run gives back code points until what follows is lower; letters without case are both.
        int lower = end;
        while (lower >= start && !IsLower(ref piece, lower, classes)) lower--;
        if (lower < start) return -1;
        while (IsLower(ref piece, lower, classes)) lower++;
        return lower;
    }

    // Only asked where UpperThenLower failed, so no lower letter can follow the run.
    private static int UpperRun(ref PieceReader piece, int start, CodePointClass classes)
    {
        int end = start;
        while (IsUpper(ref piece, end, classes)) end++;
        return end > start ? end : -1;
    }

    private static int Phrase(ref PieceReader piece, int start)
    {
        int i = IsPrefix(ref piece, start, Letter | Number) && piece.Is(start + 1, Letter) ? start + 1 : start;
        if (!piece.Is(i, Letter)) return -1;
        while (true)
        {
            if (piece.Is(i, Letter)) i = piece.SkipWhile(i + 1, Mark);
            else if (piece.CodePoint(i) == ' ' && piece.Is(i + 1, Letter)) i++;
            else return i;
        }
    }

    private static int PunctuatedRun(ref PieceReader piece, int start)
    {
        if (piece.CodePoint(start) is >= 0 and < 0x80 && piece.Is(start, CodePointClass.Punctuation | CodePointClass.Symbol))
        {
            int end = start + 1;
            while ((piece.CodePoint(end) | 0x20) is >= 'a' and <= 'z') end++;
            if (end > start + 1) return end;
        }

        return PrefixedRun(ref piece, start, Letter | Mark, Letter | CodePointClass.Punctuation | CodePointClass.Symbol);
    }

    private static int HanOrLetters(ref PieceReader piece, int start)
    {
        int end = start;
        while (IsHan(ref piece, end)) end++;
        if (end > start) return end;
        if (IsPrefix(ref piece, start, Letter | Number) && piece.Is(start + 1, Letter) && !IsHan(ref piece, start + 1)) end++;
        int letters = end;
        while (piece.Is(end, Letter) && !IsHan(ref piece, end)) end++;
        return end > letters ? end : -1;
    }

    private int Digits(ref PieceReader piece, int start)
    {
        if (rules.Digits == 0) return -1;
        if (rules.DigitsTakeSpace && piece.CodePoint(start) == ' ') start++;
        int end = start;
        while (end - start < rules.Digits && piece.Is(end, Number)) end++;
        return end > start ? end : -1;
    }

    private bool IsSymbol(ref PieceReader piece, int index) =>
        rules.StrictSymbols ? piece.Is(index, CodePointClass.Punctuation | CodePointClass.Symbol) : piece.IsOther(index, _notInSymbols);

    private int Symbols(ref PieceReader piece, int start)
    {
        int end = piece.CodePoint(start) == ' ' ? start + 1 : start;
        int first = end;
        while (IsSymbol(ref piece, end)) end++;
        if (end == first) return -1;
        switch (rules.SymbolTail)
        {
            case SymbolTail.Newlines:
                while (piece.IsNewline(end)) end++;
                break;
            case SymbolTail.NewlinesAndSlashes:
                while (piece.CodePoint(end) is '\r' or '\n' or '/') end++;
                break;
            case SymbolTail.OneNewlineOrSlash:
                if (piece.CodePoint(end) is '\r' or '\n' or '/') end++;
                break;
        }

        return end;
    }

    private int Space(ref PieceReader piece, int start)
    {
        int end = piece.WhitespaceRun(start, out int newlineEnd);
        switch (rules.Spacing)
        {
            case Spacing.NewlinesThenRuns or Spacing.NewlinesThenPowersOfTwo when newlineEnd > 0:
                return newlineEnd;
            case Spacing.SingleNewlinesThenRuns when piece.IsNewline(start):
                return start + 1;
        }

        // A run that a word follows leaves it one code point, unless it has only one.
        int available = Math.Max(end < piece.End ? end - start - 1 : end - start, 1);
        if (rules.Spacing != Spacing.NewlinesThenPowersOfTwo) return start + available;
        int step = 512;
        while (step > available) step /= 2;
        return start + step;
    }
}
