namespace Nibble.Llm.Tokenizers.PreTokenizers;

/// <summary>
/// Cuts runs of numbers into threes counted from their right: 1234567 becomes 1, 234, 567. As in llama.cpp v0.5.0, the text before a run
/// stays with the run's first group; a later step cuts it off.
/// </summary>
internal sealed class RightAlignedDigitSplitter : Splitter
{
    /// <inheritdoc/>
    public override void Split(CodePointText text, int start, int end, List<int> ends)
    {
        PieceReader piece = new(text, end);
        int last = start;
        for (int i = start; i < end;)
        {
            int runEnd = piece.SkipWhile(i, CodePointClass.Number);
            if (runEnd == i)
            {
                i++;
                continue;
            }

            int first = (runEnd - i) % 3;
            for (int cut = i + (first == 0 ? 3 : first); cut <= runEnd; cut += 3) ends.Add(last = cut);
            i = runEnd;
        }

        if (last < end) ends.Add(end);
    }
}

/// <summary>Cuts before each ASCII digit that is followed, itself included, by a multiple of three ASCII digits and no more: <c>(?=(\d{3})+(?!\d))</c>.</summary>
internal sealed class DigitBoundarySplitter : Splitter
{
    /// <inheritdoc/>
    public override void Split(CodePointText text, int start, int end, List<int> ends)
    {
        PieceReader piece = new(text, end);
        int last = start;
        for (int i = start; i < end;)
        {
            int runEnd = i;
            while (piece.CodePoint(runEnd) is >= '0' and <= '9') runEnd++;
            if (runEnd == i)
            {
                i++;
                continue;
            }

            for (int cut = i + (runEnd - i) % 3; cut < runEnd; cut += 3)
                if (cut > last) ends.Add(last = cut);
            i = runEnd;
        }

        if (last < end) ends.Add(end);
    }
}
