namespace Nibble.Llm.Tokenizers.PreTokenizers;

/// <summary>A stretch of a text that a splitter looks at; beyond its end there is nothing, even where the text goes on.</summary>
internal ref struct PieceReader
{
    private readonly ReadOnlySpan<int> _codePoints;
    private readonly ReadOnlySpan<CodePointClass> _classes;

    // The run of white space looked at last, so that walking through it in small steps stays linear.
    private int _runEnd;
    private int _runNewlineEnd;

    /// <param name="text">The text.</param>
    /// <param name="end">Where the stretch ends.</param>
    public PieceReader(CodePointText text, int end)
    {
        _codePoints = text.CodePoints[..end];
        _classes = text.Classes[..end];
    }

    /// <summary>Where the stretch ends.</summary>
    public readonly int End => _codePoints.Length;

    /// <summary>A code point, -1 beyond the end.</summary>
    public readonly int CodePoint(int index) => index < _codePoints.Length ? _codePoints[index] : -1;

    /// <summary>A class, <see cref="CodePointClass.None"/> beyond the end.</summary>
    public readonly CodePointClass Class(int index) => index < _classes.Length ? _classes[index] : CodePointClass.None;

    /// <summary>Whether a code point is there and of one of the classes.</summary>
    public readonly bool Is(int index, CodePointClass classes) => (Class(index) & classes) != 0;

    /// <summary>Whether a code point is there and of none of the classes.</summary>
    public readonly bool IsOther(int index, CodePointClass classes) => index < _classes.Length && (_classes[index] & classes) == 0;

    /// <summary>Whether a code point is a carriage return or a line feed.</summary>
    public readonly bool IsNewline(int index) => CodePoint(index) is '\r' or '\n';

    /// <summary>The end of the run of code points of the classes that starts here; the index itself where there is none.</summary>
    public readonly int SkipWhile(int index, CodePointClass classes)
    {
        while (index < _classes.Length && (_classes[index] & classes) != 0) index++;
        return index;
    }

    /// <summary>The end of the run of white space that starts here.</summary>
    /// <param name="index">Where the run starts, or a place in the run looked at last.</param>
    /// <param name="newlineEnd">The index behind the run's last carriage return or line feed; 0 where it has none from here on.</param>
    public int WhitespaceRun(int index, out int newlineEnd)
    {
        if (index >= _runEnd)
        {
            _runNewlineEnd = 0;
            for (_runEnd = index; Is(_runEnd, CodePointClass.Whitespace); _runEnd++)
                if (IsNewline(_runEnd)) _runNewlineEnd = _runEnd + 1;
        }

        newlineEnd = _runNewlineEnd > index ? _runNewlineEnd : 0;
        return _runEnd;
    }
}
