using System.Buffers;
using System.Text;

namespace Nibble.Llm.Tokenizers;

/// <summary>
/// SentencePiece as Llama 2 uses it: the characters of the text merge by the score of the token that they form, the highest first. What is
/// no token in the end is spelled in byte tokens. Other than in llama.cpp, text never merges into a control token.
/// </summary>
internal sealed class SentencePieceTokenizer : Tokenizer
{
    private readonly int[] _byteTokens = new int[256]; // the unknown token for a byte that has none; -1 where that is a control token

    public SentencePieceTokenizer(Vocabulary vocabulary)
        : base(vocabulary)
    {
        bool mayBeUnknown = vocabulary.Special.Unknown is { } id && (vocabulary.Attributes(id) & TokenAttributes.Control) == 0;
        for (int value = 0; value < 256; value++)
        {
            int token = vocabulary.FindByte((byte)value);
            _byteTokens[value] = token < 0 && mayBeUnknown ? vocabulary.Special.Unknown!.Value : token;
        }
    }

    private readonly struct ScoreRules(Vocabulary vocabulary) : IMergeRules
    {
        public bool TryMerge(ReadOnlySpan<byte> text, int left, int right, out uint priority, out int merged)
        {
            merged = vocabulary.FindInText(text);
            priority = merged >= 0 ? Descending(vocabulary.Score(merged)) : 0;
            return merged >= 0;
        }

        // A float's bits order like an integer once negative ones are flipped; +0 makes -0 equal to 0.
        private static uint Descending(float score)
        {
            uint bits = BitConverter.SingleToUInt32Bits(score + 0f);
            uint ascending = (bits & 0x80000000) != 0 ? ~bits : bits | 0x80000000;
            return ~ascending;
        }
    }

    /// <inheritdoc/>
    private protected override void EncodeText(ReadOnlySpan<byte> utf8, bool afterSpecial, List<int> ids)
    {
        byte[] buffer = ArrayPool<byte>.Shared.Rent((utf8.Length + 1) * SpaceEscape.Space.Length);
        int length = 0;
        if (Vocabulary.AddSpacePrefix && afterSpecial)
        {
            SpaceEscape.Space.CopyTo(buffer);
            length = SpaceEscape.Space.Length;
        }

        length += SpaceEscape.Add(utf8, buffer.AsSpan(length));
        ReadOnlySpan<byte> text = buffer.AsSpan(0, length);

        int[] symbols = ArrayPool<int>.Shared.Rent(length);
        byte[] lengths = ArrayPool<byte>.Shared.Rent(length);
        int count = 0;
        for (int i = 0; i < length; count++)
        {
            int size = Utf8Size(text[i]);
            lengths[count] = (byte)size;
            symbols[count] = Vocabulary.FindInText(text.Slice(i, size));
            i += size;
        }

        using SymbolMerger merger = new();
        ScoreRules rules = new(Vocabulary);
        merger.Merge(text, symbols.AsSpan(0, count), lengths.AsSpan(0, count), ref rules);
        for (int place = 0; place < length;)
        {
            int symbol = merger.SymbolAt(place, out int size);
            if (symbol >= 0) ids.Add(symbol);
            else AddBytes(text.Slice(place, size), ids);
            place += size;
        }

        ArrayPool<byte>.Shared.Return(buffer);
        ArrayPool<int>.Shared.Return(symbols);
        ArrayPool<byte>.Shared.Return(lengths);
    }

    // The text is valid UTF-8.
    private static int Utf8Size(byte first) => first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;

    private void AddBytes(ReadOnlySpan<byte> bytes, List<int> ids)
    {
        foreach (byte value in bytes)
        {
            int token = _byteTokens[value];
            if (token < 0)
                throw new TokenizerException($"The text holds '{Encoding.UTF8.GetString(bytes)}', which the vocabulary cannot spell: it has no token for the byte 0x{value:X2} and none for unknown text that is not a control token.");
            ids.Add(token);
        }
    }
}
