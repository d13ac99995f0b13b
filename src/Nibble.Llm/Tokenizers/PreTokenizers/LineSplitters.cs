namespace Nibble.Llm.Tokenizers.PreTokenizers;

/// <summary>Cuts between runs of line feeds and runs of anything else: <c>[^\n]+|[\n]+</c>.</summary>
internal sealed class LineFeedSplitter : MatchSplitter
{
    /// <inheritdoc/>
    protected override int Match(ref PieceReader piece, int start)
    {
        bool isFeed = piece.CodePoint(start) == '\n';
        int end = start + 1;
        while (end < piece.End && piece.CodePoint(end) == '\n' == isFeed) end++;
        return end;
    }
}

/// <summary>Cuts off the white space at the end of a stretch: <c>\s+$</c>.</summary>
internal sealed class TrailingWhitespaceSplitter : Splitter
{
    /// <inheritdoc/>
    public override void Split(CodePointText text, int start, int end, List<int> ends)
    {
        ReadOnlySpan<CodePointClass> classes = text.Classes;
        int cut = end;
        while (cut > start && (classes[cut - 1] & CodePointClass.Whitespace) != 0) cut--;
        if (cut > start && cut < end) ends.Add(cut);
        ends.Add(end);
    }
}
