using System.Globalization;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;

namespace Nibble.Llm.Models;

/// <summary>The sizes of a <see cref="SyntheticModel"/> for benchmarks, and the metadata that follows from them. The defaults are those of a Llama of 1.1 billion weights (TinyLlama).</summary>
public sealed record SyntheticShape
{
    /// <summary>The value of <c>general.architecture</c>.</summary>
    public string Architecture { get; init; } = "llama";

    /// <summary>Values of a token's state.</summary>
    public int Width { get; init; } = 2048;

    /// <summary>Layers.</summary>
    public int Layers { get; init; } = 22;

    /// <summary>Query heads; they share the width evenly unless <see cref="HeadSize"/> says otherwise.</summary>
    public int Heads { get; init; } = 32;

    /// <summary>Heads of keys and values.</summary>
    public int KvHeads { get; init; } = 4;

    /// <summary>Values of a head, or null for width / heads.</summary>
    public int? HeadSize { get; init; }

    /// <summary>Hidden width of the networks.</summary>
    public int FeedForward { get; init; } = 5632;

    /// <summary>Tokens of the vocabulary: at least <see cref="MinVocabulary"/>.</summary>
    public int Vocabulary { get; init; } = 32000;

    /// <summary>Positions that the model is for.</summary>
    public int Context { get; init; } = 8192;

    /// <summary>Whether the output matrix is the table of embeddings.</summary>
    public bool IsTied { get; init; }

    /// <summary>Keys set on top, by their whole names.</summary>
    public IReadOnlyList<KeyValuePair<string, GgufValue>> Keys { get; init; } = [];

    /// <summary>The least vocabulary: three control tokens and the 256 bytes.</summary>
    public const int MinVocabulary = SyntheticVocabulary.FirstPiece;

    /// <summary>Asks the architecture for the model of this shape.</summary>
    /// <param name="weights">The format of most weights, which the file names.</param>
    /// <exception cref="ArgumentException">The sizes do not fit one another.</exception>
    /// <exception cref="GgufException">The architecture needs keys that the shape does not give, or refuses their values.</exception>
    public SyntheticModel Describe(BlockFormat weights)
    {
        ArgumentNullException.ThrowIfNull(weights);
        return new SyntheticModel(Metadata(weights), HasTensor);
    }

    /// <summary>A name for people, such as <c>llama 2048x22 Q4_0</c>.</summary>
    /// <param name="weights">The format of most weights.</param>
    public string Name(BlockFormat weights) => string.Create(CultureInfo.InvariantCulture, $"synthetic {Architecture} {Width}x{Layers} {weights}");

    private OrderedDictionary<string, GgufValue> Metadata(BlockFormat weights)
    {
        if (HeadSize is null && Width % Heads != 0)
            throw new ArgumentException($"the width is {Width} and does not divide into {Heads} heads; use a multiple of {Heads}, or give the size of a head.");
        if (KvHeads > 0 && Heads % KvHeads != 0)
            throw new ArgumentException($"{Heads} heads do not divide into {KvHeads} groups, one for each head of keys and values; use a divisor of {Heads}.");
        if (Vocabulary < MinVocabulary) throw new ArgumentException($"the vocabulary is {Vocabulary}; at least {MinVocabulary} tokens are needed: three control tokens and 256 bytes.");
        OrderedDictionary<string, GgufValue> entries = new()
        {
            ["general.architecture"] = Architecture,
            ["general.name"] = Name(weights),
            ["general.file_type"] = SyntheticFormats.FileType(weights),
            ["general.quantization_version"] = 2u,
        };
        void Own(string key, GgufValue value) => entries[$"{Architecture}.{key}"] = value;
        uint headSize = (uint)(HeadSize ?? Width / Heads);
        Own("vocab_size", (uint)Vocabulary);
        Own("context_length", (uint)Context);
        Own("block_count", (uint)Layers);
        Own("embedding_length", (uint)Width);
        Own("feed_forward_length", (uint)FeedForward);
        Own("attention.head_count", (uint)Heads);
        Own("attention.head_count_kv", (uint)KvHeads);
        if (HeadSize is not null)
        {
            Own("attention.key_length", headSize);
            Own("attention.value_length", headSize);
        }

        Own("attention.layer_norm_rms_epsilon", 1e-5f);
        Own("attention.layer_norm_epsilon", 1e-5f);
        Own("rope.dimension_count", headSize);
        Own("rope.freq_base", 10000f);
        SyntheticVocabulary.AddTo(entries, Vocabulary);
        foreach ((string key, GgufValue value) in Keys)
            entries[key] = value;
        return entries;
    }

    // Biases and scales are rare in models of today.
    private bool HasTensor(string name) =>
        name == "output.weight" ? !IsTied : SyntheticModel.HasByDefault(name) && !name.EndsWith(".bias", StringComparison.Ordinal);
}
