using System.Text.Json;
using Nibble.Llm.Tokenizers;
using Nibble.Llm.Tokenizers.PreTokenizers;

namespace Nibble.Llm.Tests.Tokenizers;

/// <summary>Every pre-tokenizer against llama.cpp, which was given one vocabulary under each name.</summary>
public class PreTokenizerOracleTests
{
    [Theory]
    [InlineData("gpt-2", true)]
    [InlineData("llama-bpe", false)] // large: one name of each group with equal answers
    public void Every_name_gives_llama_cpps_ids(string vocabulary, bool testAll)
    {
        VocabularySource source = TokenizerCases.Source(vocabulary);
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(Fixtures.Golden("tokenizers", $"pretokenizers-{vocabulary}.json")));
        string[] texts = [.. document.RootElement.GetProperty("texts").EnumerateArray().Select(t => t.GetString()!)];
        HashSet<string> names = [];
        List<string> wrong = [];
        foreach (JsonElement group in document.RootElement.GetProperty("groups").EnumerateArray())
        {
            int[][] expected = [.. group.GetProperty("ids").EnumerateArray().Select(ids => ids.EnumerateArray().Select(id => id.GetInt32()).ToArray())];
            Assert.Equal(texts.Length, expected.Length);
            foreach (string name in group.GetProperty("names").EnumerateArray().Select(n => n.GetString()!))
            {
                names.Add(name);
                if (!testAll && name != group.GetProperty("names")[0].GetString()) continue;
                Tokenizer tokenizer = Tokenizer.Create(source with { PreTokenizer = name });
                for (int i = 0; i < texts.Length; i++)
                {
                    int[] actual = tokenizer.Encode(texts[i], parseSpecial: false, addBosEos: false);
                    if (!actual.AsSpan().SequenceEqual(expected[i]))
                        wrong.Add($"{name} {JsonSerializer.Serialize(texts[i])}: expected {string.Join(' ', expected[i])}, got {string.Join(' ', actual)}");
                }
            }
        }

        Assert.True(wrong.Count == 0, $"{wrong.Count} differ:\n{string.Join('\n', wrong.Take(20))}");

        // llama.cpp aborts on white space under the name "whitespace", so that one has a hand-made test.
        Assert.Equal(PreTokenizerTable.Names.Order(StringComparer.Ordinal), names.Append("whitespace").Order(StringComparer.Ordinal));
    }
}
