using System.Buffers;
using System.Runtime.InteropServices;
using System.Text;
using Nibble.Llm.Tokenizers.PreTokenizers;

namespace Nibble.Llm.Tokenizers;

/// <summary>
/// Byte-pair encoding: the pre-tokenizer splits text into words, in each of which symbols merge by rank. The symbols at first are bytes
/// spelled as characters (GPT-2), or characters (Gemma 4). Other than in llama.cpp, text never merges into a control token.
/// </summary>
internal sealed class BytePairTokenizer : Tokenizer
{
    private readonly PreTokenizerEntry _rules;
    private readonly MergeTable _merges;
    private readonly WordCache _cache = new();
    private readonly int[] _byteSymbols = new int[256]; // of bytes spelled as characters, or of <0x00> to <0xFF>; -1 where there is none

    /// <param name="vocabulary">The tokens.</param>
    /// <param name="merges">The merges.</param>
    public BytePairTokenizer(Vocabulary vocabulary, PieceTable? merges)
        : base(vocabulary)
    {
        _rules = vocabulary.PreTokenizer!;
        if (merges is null && !_rules.MergesOptional)
            throw new TokenizerException("tokenizer.ggml.merges is missing; byte-pair encoding needs it.");
        _merges = new MergeTable(vocabulary, merges ?? PieceTable.From([]));
        for (int value = 0; value < 256; value++)
        {
            _byteSymbols[value] = _rules.ByteLevel
                ? _merges.Find(Encoding.UTF8.GetBytes([ByteLevelAlphabet.Spell((byte)value)]))
                : vocabulary.Find(Encoding.ASCII.GetBytes($"<0x{value:X2}>"));
        }
    }

    /// <inheritdoc/>
    private protected override void EncodeText(ReadOnlySpan<byte> utf8, bool afterSpecial, List<int> ids)
    {
        byte[]? escaped = null;
        if (_rules.EscapeSpaces)
        {
            escaped = ArrayPool<byte>.Shared.Rent(utf8.Length * SpaceEscape.Space.Length);
            utf8 = escaped.AsSpan(0, SpaceEscape.Add(utf8, escaped));
        }

        List<int> ends = [];
        _rules.PreTokenizer.Split(utf8, ends);
        using SymbolMerger merger = new();
        int start = 0;
        foreach (int end in ends)
        {
            EncodeWord(utf8[start..end], merger, ids);
            start = end;
        }

        if (escaped is not null) ArrayPool<byte>.Shared.Return(escaped);
    }

    private void EncodeWord(ReadOnlySpan<byte> word, SymbolMerger merger, List<int> ids)
    {
        bool mayCache = word.Length <= WordCache.LongestBytes;
        if (mayCache && _cache.TryAppend(word, ids)) return;
        int first = ids.Count;
        int whole = FindWhole(word);
        if (whole >= 0) ids.Add(whole);
        else MergeWord(word, merger, ids);
        if (mayCache) _cache.Add(word, CollectionsMarshal.AsSpan(ids)[first..]);
    }

    // The token that a word is without merging, or -1.
    private int FindWhole(ReadOnlySpan<byte> word)
    {
        bool asIs = _rules.IgnoreMerges || (_rules.LineFeedRunsAreTokens && word.IndexOfAnyExcept((byte)'\n') < 0);
        if (!asIs) return -1;
        if (!_rules.ByteLevel) return Vocabulary.FindInText(word);
        if (word.Length > Vocabulary.Pieces.LongestBytes) return -1;
        byte[] buffer = ArrayPool<byte>.Shared.Rent(word.Length * 2);
        int token = Vocabulary.FindInText(buffer.AsSpan(0, ByteLevelAlphabet.Spell(word, buffer)));
        ArrayPool<byte>.Shared.Return(buffer);
        return token;
    }

    private bool IsToken(int symbol) => symbol >= 0 && symbol < Vocabulary.Count && Vocabulary.IsText(symbol);

    private void MergeWord(ReadOnlySpan<byte> word, SymbolMerger merger, List<int> ids)
    {
        int[] symbols = ArrayPool<int>.Shared.Rent(word.Length);
        byte[] lengths = ArrayPool<byte>.Shared.Rent(word.Length);
        int count = 0;
        for (int i = 0; i < word.Length; count++)
        {
            int size = 1;
            if (!_rules.ByteLevel) Rune.DecodeFromUtf8(word[i..], out _, out size);
            symbols[count] = _rules.ByteLevel ? _byteSymbols[word[i]] : _merges.Find(word.Slice(i, size));
            lengths[count] = (byte)size;
            i += size;
        }

        MergeTable rules = _merges;
        merger.Merge(word, symbols.AsSpan(0, count), lengths.AsSpan(0, count), ref rules);
        for (int place = 0; place < word.Length;)
        {
            int symbol = merger.SymbolAt(place, out int size);
            if (IsToken(symbol)) ids.Add(symbol);
            else AddBytes(word.Slice(place, size), ids);
            place += size;
        }

        ArrayPool<int>.Shared.Return(symbols);
        ArrayPool<byte>.Shared.Return(lengths);
    }

    // What is no token in the end is spelled byte by byte. A byte without a token is left out, as in llama.cpp: models name a control token
    // as their unknown one (SmolLM2: its end of text), which text must never become.
    private void AddBytes(ReadOnlySpan<byte> bytes, List<int> ids)
    {
        foreach (byte value in bytes)
        {
            int symbol = _byteSymbols[value];
            if (IsToken(symbol)) ids.Add(symbol);
        }
    }
}
