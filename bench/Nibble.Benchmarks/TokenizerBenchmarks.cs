using System.Text;
using BenchmarkDotNet.Attributes;
using Nibble.Core.Gguf;
using Nibble.Llm.Tokenizers;

namespace Nibble.Benchmarks;

/// <summary>The tokenizer of the model that comes with the repository.</summary>
public class TokenizerBenchmarks
{
    private const string Paragraph =
        "The quick brown fox jumps over the lazy dog, and 1,234.56 other things happen: `x = y[3] + f(z)`, naïve café prices of 12 €, and a line\n\tthat begins with a tab.\n";

    private readonly List<int> _ids = [];
    private Tokenizer _tokenizer = null!;
    private string _text = string.Empty;

    /// <summary>Characters of the text, about.</summary>
    [Params(160, 100_000)]
    public int Characters { get; set; }

    /// <summary>Reads the vocabulary and makes the text. Words are numbered, so that not all of them are found in the cache of words.</summary>
    [GlobalSetup]
    public void Setup()
    {
        using GgufFile file = GgufFile.Open(ModelCatalog.Open().Resolve(null));
        _tokenizer = Tokenizer.FromMetadata(file.Metadata);
        StringBuilder text = new(Paragraph);
        for (int i = 0; text.Length < Characters; i++) text.Append(Paragraph).Append("word").Append(i * 7919).Append(' ');
        _text = text.ToString();
    }

    /// <summary>Text to ids.</summary>
    [Benchmark]
    public int Encode()
    {
        _ids.Clear();
        _tokenizer.Encode(_text, parseSpecial: false, _ids);
        return _ids.Count;
    }
}
