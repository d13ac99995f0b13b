namespace Nibble.Quantize.Import;

/// <summary>How a family of Hugging Face models becomes a GGUF architecture.</summary>
/// <remarks>Facts of each: transformers 4.57 and 5.x, <c>modeling_*.py</c>; llama.cpp v0.5.0, <c>conversion/*.py</c>.</remarks>
internal sealed record ModelFamily
{
    /// <summary>Values of <c>model_type</c> in <c>config.json</c>, or in its <c>text_config</c>.</summary>
    public required string[] ModelTypes { get; init; }

    /// <summary>The value of <c>general.architecture</c>.</summary>
    public required string Architecture { get; init; }

    /// <summary>
    /// Whether GGUF has the rows of queries and keys in another order: RoPE there turns neighbours, in transformers halves of a head.
    /// </summary>
    public bool HasAdjacentRope { get; init; }

    /// <summary>Whether norms multiply by 1 + weight in transformers; GGUF stores the sum.</summary>
    public bool AddsOneToNorms { get; init; }

    /// <summary>Whether queries and keys are normed head by head.</summary>
    public bool HasHeadNorms { get; init; }

    /// <summary>Whether attention and network have a norm after them, too.</summary>
    public bool HasPostNorms { get; init; }

    /// <summary>Whether queries, keys and values are one matrix, and gate and up one, in both worlds.</summary>
    public bool IsFused { get; init; }

    /// <summary>Whether biases of queries, keys and values must be there; elsewhere biases are taken where they are.</summary>
    public bool NeedsQueryKeyValueBias { get; init; }

    /// <summary>Whether GGUF has no output matrix of its own.</summary>
    public bool IsAlwaysTied { get; init; }

    /// <summary>Whether the embeddings are the output matrix where <c>tie_word_embeddings</c> is absent.</summary>
    public bool IsTiedByDefault { get; init; }

    /// <summary>Whether the architecture reads YaRN's betas and multiplier.</summary>
    public bool HasYarnNumbers { get; init; }

    /// <summary>How the experts are named, or null for dense networks.</summary>
    public ExpertNames? Experts { get; init; }

    /// <summary>The activation of the networks.</summary>
    public string[] Activations { get; init; } = ["silu", "swish"];

    /// <summary>What absent fields of <c>config.json</c> stand for.</summary>
    public IReadOnlyDictionary<string, int> Defaults { get; init; } = new Dictionary<string, int>();

    /// <summary>What an absent <c>rms_norm_eps</c> stands for.</summary>
    public double NormEpsilon { get; init; } = 1e-6;

    /// <summary>What an absent <c>rope_theta</c> stands for.</summary>
    public double RopeBase { get; init; } = 10000;

    /// <summary>Adds keys of its own and checks what the architecture takes for granted; null for none.</summary>
    public Action<ImportPlan, JsonFields, ModelShape>? Keys { get; init; }
}

/// <summary>The names of a layer's experts after the layer's prefix.</summary>
/// <param name="Router">The matrix that scores the experts.</param>
/// <param name="Prefix">What stands before an expert's number.</param>
/// <param name="Gate">The gate.</param>
/// <param name="Up">The matrix up.</param>
/// <param name="Down">The matrix down.</param>
internal sealed record ExpertNames(string Router, string Prefix, string Gate, string Up, string Down);
