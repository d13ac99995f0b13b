using Nibble.Core.Compute;
using Nibble.Core.Gguf;
using Nibble.Llm.Layers;
using Nibble.Llm.Sessions;

namespace Nibble.Llm.Models;

/// <summary>The networks whose scales beside weights count.</summary>
[Flags]
internal enum NetworkScales
{
    /// <summary>None.</summary>
    None = 0,

    /// <summary>Dense networks.</summary>
    Dense = 1,

    /// <summary>Experts.</summary>
    Experts = 2,

    /// <summary>Shared experts.</summary>
    Shared = 4,
}

/// <summary>Puts a <see cref="Decoder"/> together: reads what nearly every architecture reads alike, and takes the rest from the architecture.</summary>
internal sealed class DecoderBuilder
{
    private readonly List<KvLayer> _kv = [];
    private readonly List<StateShape> _states = [];
    private readonly List<int> _kvOwners = [];
    private readonly List<int> _stateOwners = [];
    private readonly List<DecoderLayer> _layers = [];
    private readonly int[]? _heads;
    private readonly int[]? _kvHeads;
    private readonly int[]? _hidden;

    /// <summary>Begins with a file.</summary>
    /// <param name="reader">The file.</param>
    /// <param name="norm">Kind of the norms.</param>
    /// <param name="normBias">Whether the norms have biases.</param>
    /// <param name="epsilon">Key of what keeps the norms' divisors from 0; null for the one of their kind.</param>
    public DecoderBuilder(ModelReader reader, NormKind norm = NormKind.Rms, Presence normBias = Presence.Absent, string? epsilon = null)
    {
        Reader = reader;
        NormKind = norm;
        NormBias = normBias;
        // Layers that predict further tokens come last; logits do not need them.
        int all = reader.LayerCount();
        LayerCount = all - reader.Integer("nextn_predict_layers", 0, all - 1, 0);
        for (int i = LayerCount; i < all; i++)
            reader.Ignore($"blk.{i}.");
        if (!reader.Flag("attention.causal", true))
            throw reader.Error("attention.causal", $"{reader.Architecture}.attention.causal is false; models whose tokens see later ones do not run.");
        Width = reader.Width("embedding_length");
        Vocabulary = reader.VocabularySize();
        NormEpsilon = reader.NormEpsilon(epsilon ?? (norm == NormKind.Rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon"));
        if (reader.HasKey("attention.head_count"))
        {
            _heads = reader.PerLayer("attention.head_count", LayerCount, 0, 1024);
            _kvHeads = reader.PerLayer("attention.head_count_kv", LayerCount, 0, 1024, _heads);
        }

        if (reader.HasKey("feed_forward_length")) _hidden = reader.PerLayer("feed_forward_length", LayerCount, 0, 1 << 20);
        Rotations = new Rotations(reader);
        Embedding = reader.Table("token_embd.weight", Width, Vocabulary);
    }

    /// <summary>The file.</summary>
    public ModelReader Reader { get; }

    /// <summary>Kind of the norms.</summary>
    public NormKind NormKind { get; }

    /// <summary>Whether the norms have biases.</summary>
    public Presence NormBias { get; }

    /// <summary>What keeps the norms' divisors from 0.</summary>
    public float NormEpsilon { get; }

    /// <summary>Layers.</summary>
    public int LayerCount { get; }

    /// <summary>Values of a token's state.</summary>
    public int Width { get; }

    /// <summary>Tokens of the vocabulary.</summary>
    public int Vocabulary { get; }

    /// <summary>Query heads of each layer.</summary>
    public int[] Heads => _heads ?? throw Missing("attention.head_count");

    /// <summary>KV heads of each layer.</summary>
    public int[] KvHeads => _kvHeads ?? throw Missing("attention.head_count");

    /// <summary>Hidden width of each layer's network.</summary>
    public int[] Hidden => _hidden ?? throw Missing("feed_forward_length");

    /// <summary>The rotations.</summary>
    public Rotations Rotations { get; }

    /// <summary>The embeddings.</summary>
    public Weight Embedding { get; }

    /// <summary>The networks whose scales beside weights count; those of attention always do.</summary>
    public NetworkScales Scales { get; init; }

    /// <summary>What embeddings are multiplied by.</summary>
    public float EmbeddingScale { get; init; } = 1;

    /// <summary>[positions x width] added to the embeddings, or null.</summary>
    public Weight? PositionEmbedding { get; set; }

    /// <summary>Norm of the embeddings, or null.</summary>
    public Norm? EmbeddingNorm { get; set; }

    /// <summary>Embeddings that each layer has of its own, or null.</summary>
    public LayerInputs? LayerInputs { get; set; }

    /// <summary>What logits are multiplied by.</summary>
    public float LogitScale { get; init; } = 1;

    /// <summary>Logits become cap x tanh(logit / cap); 0 for none.</summary>
    public float LogitSoftCap { get; init; }

    /// <summary>The norm before the output, where it is not read by <see cref="OutputNormName"/>.</summary>
    public Norm? OutputNorm { get; set; }

    /// <summary>Name of the norm before the output.</summary>
    public string OutputNormName { get; init; } = "output_norm";

    /// <summary>Whether the file must have an output matrix of its own, may, or does not: then the embeddings serve.</summary>
    public Presence Output { get; init; } = Presence.Optional;

    /// <summary>Bias of the output.</summary>
    public Presence OutputBias { get; init; }

    /// <summary>The layers, to be built one by one and added.</summary>
    public IEnumerable<LayerBuilder> Layers
    {
        get
        {
            for (int i = 0; i < LayerCount; i++)
                yield return new LayerBuilder(this, i);
        }
    }

    /// <summary>A norm of the whole state that has no weights.</summary>
    public Norm Norm() => new(new NormOptions(NormKind, NormEpsilon), null, null);

    /// <summary>A norm of the whole state.</summary>
    /// <param name="name">Name without <c>.weight</c>.</param>
    public Norm Norm(string name) => Norm(name, Width, 0);

    /// <summary>A norm.</summary>
    /// <param name="name">Name without <c>.weight</c>.</param>
    /// <param name="columns">Values of its gain.</param>
    /// <param name="size">Values that are normed together; 0 for all.</param>
    /// <param name="kind">Kind; null for the model's.</param>
    public Norm Norm(string name, int columns, int size, NormKind? kind = null)
    {
        NormOptions options = new(kind ?? NormKind, NormEpsilon, size);
        return new Norm(options, Reader.Vector(name + ".weight", columns), Reader.Vector(name + ".bias", columns, NormBias));
    }

    /// <summary>Values of a head: the file's own number, else what the first layer's heads share evenly.</summary>
    /// <param name="key">Key of the number.</param>
    public int HeadSize(string key) => Reader.Integer(key, 1, 4096, Width / Math.Max(1, Heads[0]));

    /// <summary>Adds a layer.</summary>
    /// <param name="layer">The layer.</param>
    public void Add(DecoderLayer layer) => _layers.Add(layer);

    /// <summary>A place in the KV cache.</summary>
    /// <param name="layer">Its shape.</param>
    public int AddKv(KvLayer layer)
    {
        _kv.Add(layer);
        _kvOwners.Add(_layers.Count);
        return _kv.Count - 1;
    }

    /// <summary>A recurrent state.</summary>
    /// <param name="rows">Rows.</param>
    /// <param name="columns">Columns.</param>
    public int AddState(int rows, int columns)
    {
        _states.Add(new StateShape(rows, columns));
        _stateOwners.Add(_layers.Count);
        return _states.Count - 1;
    }

    /// <summary>The forward pass.</summary>
    public Decoder Build()
    {
        Weight output = Output switch
        {
            Presence.Absent => Reader.Tied(Embedding),
            Presence.Optional => Reader.Output("output.weight", Embedding),
            _ => Reader.Output("output.weight", Width, Vocabulary),
        };
        return new Decoder
        {
            Backend = Reader.Backend,
            Embedding = Embedding,
            EmbeddingScale = EmbeddingScale,
            PositionEmbedding = PositionEmbedding,
            EmbeddingNorm = EmbeddingNorm,
            LayerInputs = LayerInputs,
            Layers = [.. _layers],
            OutputNorm = OutputNorm ?? (OutputNormName.Length == 0 ? null : Norm(OutputNormName)),
            Output = new Linear(output, Reader.Vector("output.bias", Vocabulary, OutputBias)),
            LogitScale = LogitScale,
            LogitSoftCap = LogitSoftCap,
            Sequence = new SequenceShape([.. _kv], [.. _states]) { KvOwners = [.. _kvOwners], StateOwners = [.. _stateOwners] },
            TokenWeightBytes = Reader.TokenWeightBytes,
        };
    }

    private GgufException Missing(string key) => Reader.Error(key, $"it is missing; {Reader.Architecture} needs it.");
}
