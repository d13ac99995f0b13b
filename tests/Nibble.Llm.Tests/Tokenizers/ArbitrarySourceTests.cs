using Nibble.Llm.Tokenizers;

namespace Nibble.Llm.Tests.Tokenizers;

public class ArbitrarySourceTests(ITestOutputHelper output)
{
    private const int Seed = 31;

    [Fact]
    public void Arbitrary_vocabularies_work_or_give_the_documented_exception()
    {
        output.WriteLine($"seed {Seed}");
        Random random = new(Seed);
        int worked = 0, refused = 0;
        for (int i = 0; i < 10_000; i++)
        {
            VocabularySource source = Next(random);
            string text = Word(random) + Word(random) + Word(random);
            try
            {
                Tokenizer tokenizer = Tokenizer.Create(source);
                tokenizer.Decode(tokenizer.Encode(text, random.Next(2) == 0, addBosEos: true), renderSpecial: true);
                worked++;
            }
            catch (TokenizerException)
            {
                refused++;
            }
        }

        output.WriteLine($"{worked} worked, {refused} were refused");
        Assert.True(worked > 1000 && refused > 1000);
    }

    private static VocabularySource Next(Random random)
    {
        string[] models = ["llama", "gpt2", "bert", "gemma4"];
        return new VocabularySource
        {
            Model = models[random.Next(models.Length)],
            PreTokenizer = random.Next(3) == 0 ? null : "llama-bpe",
            Pieces = PieceTable.From(Enumerable.Range(0, random.Next(12)).Select(_ => Word(random)).ToArray()),
            Types = random.Next(2) == 0 ? null : [.. Enumerable.Range(0, random.Next(14)).Select(_ => random.Next(-1, 8))],
            Scores = random.Next(2) == 0 ? null : [.. Enumerable.Range(0, random.Next(14)).Select(_ => random.Next(5) == 0 ? float.NaN : random.NextSingle())],
            Merges = random.Next(4) == 0 ? null : PieceTable.From(Enumerable.Range(0, random.Next(4)).Select(_ => $"{Word(random)} {Word(random)}").ToArray()),
            Special = new SpecialTokenIds { Bos = random.Next(-1, 14), Eos = random.Next(-1, 14), Unknown = random.Next(2) == 0 ? null : random.Next(12) },
            AddBos = true,
            AddEos = true,
            ModelName = random.Next(2) == 0 ? "phi-3" : "",
        };
    }

    private static string Word(Random random) => new([.. Enumerable.Range(0, random.Next(5)).Select(_ => "ab <>|\u2581\u0120\u00E9\n"[random.Next(10)])]);
}
