namespace Nibble.Llm.Tokenizers.PreTokenizers;

/// <summary>What may stand before a run and belong to it.</summary>
internal enum RunPrefix
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>A space: <c> ?X+</c>.</summary>
    Space,

    /// <summary>Any white space: <c>\s?X+</c>.</summary>
    Whitespace,
}

/// <summary>Isolates runs of alike code points: <c>X+</c>, <c>X</c>, <c>X{1,3}</c> or <c>\s?X+</c>, or an alternation of such runs.</summary>
/// <param name="kinds">Tests of a code point and its class; a run belongs to the first one that its first code point passes.</param>
internal sealed class RunSplitter(params Func<int, CodePointClass, bool>[] kinds) : MatchSplitter
{
    /// <summary>The shortest run.</summary>
    public int Minimum { get; init; } = 1;

    /// <summary>The longest run; a longer one becomes several.</summary>
    public int Maximum { get; init; } = int.MaxValue;

    /// <summary>What may stand before a run.</summary>
    public RunPrefix Prefix { get; init; }

    /// <summary>A test of the classes.</summary>
    public static Func<int, CodePointClass, bool> Of(CodePointClass classes) => (_, c) => (c & classes) != 0;

    /// <summary>A test of the classes and a set beside them.</summary>
    public static Func<int, CodePointClass, bool> Of(CodePointClass classes, string set)
    {
        CodePointSet members = new(set);
        return (codePoint, c) => (c & classes) != 0 || members.Contains(codePoint);
    }

    /// <summary>A test of a set. White space outside of ASCII is in no set: llama.cpp matches such sets with all of it mapped to U+000B.</summary>
    public static Func<int, CodePointClass, bool> Of(string set)
    {
        CodePointSet members = new(set);
        return (codePoint, c) => members.Contains(codePoint) && (codePoint < 0x80 || (c & CodePointClass.Whitespace) == 0);
    }

    /// <summary>A test of what is neither white space nor in a set.</summary>
    public static Func<int, CodePointClass, bool> OtherThanWhitespaceAnd(string set)
    {
        CodePointSet members = new(set);
        return (codePoint, c) => (c & CodePointClass.Whitespace) == 0 && !members.Contains(codePoint);
    }

    /// <inheritdoc/>
    protected override int Match(ref PieceReader piece, int start)
    {
        bool hasPrefix = Prefix switch
        {
            RunPrefix.Space => piece.CodePoint(start) == ' ',
            RunPrefix.Whitespace => piece.Is(start, CodePointClass.Whitespace),
            _ => false,
        };
        if (hasPrefix)
        {
            int end = Run(ref piece, start + 1);
            if (end >= 0) return end;
        }

        return Run(ref piece, start);
    }

    private int Run(ref PieceReader piece, int start)
    {
        if (start >= piece.End) return -1;
        foreach (Func<int, CodePointClass, bool> kind in kinds)
        {
            int end = start;
            int limit = Maximum < piece.End - start ? start + Maximum : piece.End;
            while (end < limit && kind(piece.CodePoint(end), piece.Class(end))) end++;
            if (end - start >= Minimum) return end;
        }

        return -1;
    }
}
