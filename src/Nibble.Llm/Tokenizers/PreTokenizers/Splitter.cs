namespace Nibble.Llm.Tokenizers.PreTokenizers;

/// <summary>One step of a pre-tokenizer: cuts a stretch of text into smaller ones. All steps take time linear in the length of the stretch.</summary>
internal abstract class Splitter
{
    /// <summary>Appends the ends of the pieces of a stretch, the last of which is its end.</summary>
    /// <param name="text">The whole text.</param>
    /// <param name="start">Where the stretch starts.</param>
    /// <param name="end">Where it ends, greater than <paramref name="start"/>.</param>
    /// <param name="ends">Gets the ends, ascending.</param>
    public abstract void Split(CodePointText text, int start, int end, List<int> ends);
}

/// <summary>
/// A step that looks for matches from left to right, as a regular expression does: each match is a piece, and so is what lies between two.
/// </summary>
internal abstract class MatchSplitter : Splitter
{
    /// <inheritdoc/>
    public sealed override void Split(CodePointText text, int start, int end, List<int> ends)
    {
        PieceReader piece = new(text, end);
        int gap = start;
        for (int i = start; i < end;)
        {
            int matchEnd = Match(ref piece, i);
            if (matchEnd < 0)
            {
                i++;
                continue;
            }

            if (i > gap) ends.Add(i);
            ends.Add(matchEnd);
            i = gap = matchEnd;
        }

        if (gap < end) ends.Add(end);
    }

    /// <summary>The end of the match that starts at a place, or -1 where none does. A match is never empty.</summary>
    protected abstract int Match(ref PieceReader piece, int start);
}
