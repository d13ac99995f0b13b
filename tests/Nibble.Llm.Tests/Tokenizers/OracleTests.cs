using System.Text.Json;
using Nibble.Llm.Tokenizers;

namespace Nibble.Llm.Tests.Tokenizers;

/// <summary>Ids equal to llama.cpp's (the default model: transformers') for every text of the fixtures, in both modes.</summary>
public class OracleTests
{
    public static TheoryData<string> Names => [.. TokenizerCases.Golden, .. TokenizerCases.Shared, TokenizerCases.DefaultModel];

    [Theory]
    [MemberData(nameof(Names))]
    public void Ids_equal_the_oracles_with_control_tokens_as_text_and_parsed(string name)
    {
        Tokenizer tokenizer = TokenizerCases.Tokenizer(name);
        IReadOnlyList<TokenizerCase> cases = TokenizerCases.Cases(name);
        List<string> wrong = [];
        foreach (TokenizerCase c in cases)
        {
            Compare(c.Text, false, c.Plain);
            Compare(c.Text, true, c.Special);
        }

        Assert.Equal(246, cases.Count);
        Assert.True(wrong.Count == 0, $"{wrong.Count} of {cases.Count * 2} differ:\n{string.Join('\n', wrong.Take(10))}");

        void Compare(string text, bool parseSpecial, int[] expected)
        {
            int[] actual = tokenizer.Encode(text, parseSpecial, addBosEos: false);
            if (!actual.AsSpan().SequenceEqual(expected))
                wrong.Add($"{JsonSerializer.Serialize(text)} {(parseSpecial ? "parsed" : "plain")}: expected {string.Join(' ', expected)}, got {string.Join(' ', actual)}");
        }
    }
}
