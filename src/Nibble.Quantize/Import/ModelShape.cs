namespace Nibble.Quantize.Import;

/// <summary>The sizes of a model, as its <c>config.json</c> gives them.</summary>
internal sealed class ModelShape
{
    /// <summary>Reads them.</summary>
    /// <param name="config">The language model's part of <c>config.json</c>.</param>
    /// <param name="defaults">What fields that are absent stand for; transformers leaves some out.</param>
    /// <exception cref="ImportException">A field is missing, or no size that a model can have.</exception>
    public ModelShape(JsonFields config, IReadOnlyDictionary<string, int> defaults)
    {
        int? Default(string name) => defaults.TryGetValue(name, out int value) ? value : null;
        int Size(string name, int highest, int? fallback = null) => config.Integer(name, 1, highest, fallback ?? Default(name));

        Layers = Size("num_hidden_layers", 1024);
        Width = Size("hidden_size", 1 << 20);
        FeedForward = Size("intermediate_size", 1 << 24);
        Heads = Size("num_attention_heads", 65536);
        KvHeads = Size("num_key_value_heads", 65536, Default("num_key_value_heads") ?? Heads);
        if (Heads % KvHeads != 0) throw config.Error("num_key_value_heads", $"a divisor of num_attention_heads, {Heads}, is needed");
        if (!config.Has("head_dim") && Default("head_dim") is null && Width % Heads != 0)
            throw config.Error("head_dim", $"it is needed where hidden_size, {Width}, is no multiple of num_attention_heads, {Heads}");
        HeadSize = Size("head_dim", 65536, Default("head_dim") ?? Width / Heads);
        Vocabulary = Size("vocab_size", 1 << 24);
        Context = Size("max_position_embeddings", int.MaxValue);
    }

    /// <summary>Layers.</summary>
    public int Layers { get; }

    /// <summary>Values of a token's state.</summary>
    public int Width { get; }

    /// <summary>Hidden width of the networks.</summary>
    public int FeedForward { get; }

    /// <summary>Query heads.</summary>
    public int Heads { get; }

    /// <summary>KV heads.</summary>
    public int KvHeads { get; }

    /// <summary>Values of a head.</summary>
    public int HeadSize { get; }

    /// <summary>Tokens.</summary>
    public int Vocabulary { get; }

    /// <summary>Positions that the model is for.</summary>
    public int Context { get; }
}
