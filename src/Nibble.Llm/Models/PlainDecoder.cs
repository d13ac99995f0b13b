using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using Nibble.Core.Compute;
using Nibble.Core.Gguf;
using Nibble.Llm.Layers;

namespace Nibble.Llm.Models;

/// <summary>A matrix and its optional bias, by their tensors' names.</summary>
/// <param name="Weight">[rows x columns].</param>
/// <param name="Bias">[rows], or null.</param>
/// <param name="Rows">Outputs.</param>
/// <param name="Columns">Inputs.</param>
public sealed record PlainLinear(string Weight, string? Bias, int Rows, int Columns);

/// <summary>An RMS norm, x / sqrt(mean of x² + epsilon) times a gain.</summary>
/// <param name="Gain">Its tensor's name; null for no gain.</param>
/// <param name="GainLength">Values of the gain, <paramref name="Size"/> or the whole row; 0 without one.</param>
/// <param name="Epsilon">What keeps the divisor from 0.</param>
/// <param name="Size">Values that are normed together.</param>
public sealed record PlainNorm(string? Gain, int GainLength, float Epsilon, int Size);

/// <summary>A layer of plain parts: state + r attention(norm(state)), then state + r network(norm(state)), with r the <see cref="ResidualScale"/>.</summary>
public sealed record PlainLayer
{
    /// <summary>Norm of what attention reads.</summary>
    public required PlainNorm AttentionNorm { get; init; }

    /// <summary>Queries.</summary>
    public required PlainLinear Query { get; init; }

    /// <summary>Keys.</summary>
    public required PlainLinear Key { get; init; }

    /// <summary>Values.</summary>
    public required PlainLinear Value { get; init; }

    /// <summary>Norm of each head of the queries before RoPE, or null.</summary>
    public PlainNorm? QueryNorm { get; init; }

    /// <summary>Norm of each head of the keys before RoPE, or null.</summary>
    public PlainNorm? KeyNorm { get; init; }

    /// <summary>The rotation, or null.</summary>
    public RopeTable? Rope { get; init; }

    /// <summary>Query heads; head h reads KV head h / (heads / KV heads).</summary>
    public required int Heads { get; init; }

    /// <summary>KV heads, their sizes and the window.</summary>
    public required KvLayer Kv { get; init; }

    /// <summary>What the products of queries and keys are multiplied by.</summary>
    public required float Scale { get; init; }

    /// <summary>Scores, those products, become cap x tanh(score / cap); 0 for none.</summary>
    public float SoftCap { get; init; }

    /// <summary>The matrix behind attention.</summary>
    public required PlainLinear Output { get; init; }

    /// <summary>Norm of what attention gives, or null.</summary>
    public PlainNorm? AttentionPostNorm { get; init; }

    /// <summary>Norm of what the network reads.</summary>
    public required PlainNorm FeedForwardNorm { get; init; }

    /// <summary>SiLU or GELU.</summary>
    public required Activation Activation { get; init; }

    /// <summary>The network's gate.</summary>
    public required PlainLinear Gate { get; init; }

    /// <summary>What the gate is multiplied with.</summary>
    public required PlainLinear Up { get; init; }

    /// <summary>The network's last matrix.</summary>
    public required PlainLinear Down { get; init; }

    /// <summary>Norm of what the network gives, or null.</summary>
    public PlainNorm? FeedForwardPostNorm { get; init; }

    /// <summary>What attention and network give is multiplied by this before it is added to the state.</summary>
    public float ResidualScale { get; init; } = 1;
}

/// <summary>A decoder of parts that are simple enough to be written down a second time, for gradients: RMS norms, causal attention with grouped heads and RoPE, gated networks.</summary>
public sealed record PlainDecoder
{
    private const string WeightSuffix = "weight", ScaleSuffix = "scale";

    /// <summary>The table of embeddings, [vocabulary x width].</summary>
    public required PlainLinear Embedding { get; init; }

    /// <summary>What embeddings are multiplied by.</summary>
    public required float EmbeddingScale { get; init; }

    /// <summary>The layers.</summary>
    public required ImmutableArray<PlainLayer> Layers { get; init; }

    /// <summary>Norm before the output, or null.</summary>
    public PlainNorm? OutputNorm { get; init; }

    /// <summary>The output matrix, [vocabulary x width]; the embedding itself where the two are tied.</summary>
    public required PlainLinear Output { get; init; }

    /// <summary>What logits are multiplied by.</summary>
    public float LogitScale { get; init; } = 1;

    /// <summary>Logits, so multiplied, become cap x tanh(logit / cap); 0 for none.</summary>
    public float LogitSoftCap { get; init; }

    /// <summary>Whether the output matrix is the table of embeddings.</summary>
    public bool IsTied => Output.Weight == Embedding.Weight;

    /// <summary>Values of a token's state.</summary>
    public int Width => Embedding.Columns;

    /// <summary>Describes a model, if all its parts are plain.</summary>
    /// <param name="model">The model.</param>
    /// <param name="positions">Positions of the longest sequence, on which the rotation may depend.</param>
    /// <param name="decoder">The description; null where a part is another.</param>
    /// <param name="refusal">The part that is none of these, with its layer; null where all are.</param>
    public static bool TryDescribe(LanguageModel model, int positions, [NotNullWhen(true)] out PlainDecoder? decoder, [NotNullWhen(false)] out string? refusal)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(positions);
        try
        {
            decoder = Describe(model.Decoder, model.File, positions);
            refusal = null;
            return true;
        }
        catch (OtherPartException other)
        {
            decoder = null;
            refusal = other.Message;
            return false;
        }
    }

    private static PlainDecoder Describe(Decoder model, GgufFile file, int positions)
    {
        Refuse(model.PositionEmbedding is not null, "embeddings of positions are added to the tokens'");
        Refuse(model.EmbeddingNorm is not null, "the embeddings are normed");
        Refuse(model.LayerInputs is not null, "layers have embeddings of their own");
        return new PlainDecoder
        {
            Embedding = Linear(new Linear(model.Embedding, null), file),
            EmbeddingScale = model.EmbeddingScale,
            Layers = [.. model.Layers.Select((layer, i) => Describe(layer, i, file, positions))],
            OutputNorm = Norm(model.OutputNorm, model.Embedding.Columns, "the last norm"),
            Output = Linear(model.Output, file),
            LogitScale = model.LogitScale,
            LogitSoftCap = model.LogitSoftCap,
        };
    }

    private static PlainLayer Describe(DecoderLayer layer, int index, GgufFile file, int positions)
    {
        string at = $"layer {index}: ";
        Refuse(layer.IsParallel, at + "attention and network stand side by side");
        Refuse(layer.OutputScale != 1, at + "the state is scaled behind it");
        Refuse(layer.Input is not null, at + "it has an input of its own");
        Refuse(layer.OutputNorm is not null, at + "the state is normed behind it");
        Refuse(layer.Mixer is not AttentionLayer, at + $"the mixer is {layer.Mixer?.GetType().Name ?? "absent"}, not {nameof(AttentionLayer)}");
        Refuse(layer.FeedForward is not DenseFeedForward, at + $"the network is {layer.FeedForward?.GetType().Name ?? "absent"}, not {nameof(DenseFeedForward)}");
        AttentionLayer attention = (AttentionLayer)layer.Mixer!;
        DenseFeedForward network = (DenseFeedForward)layer.FeedForward!;
        Refuse(attention.ReusesKv, at + "it reads the keys and values of another layer");
        Refuse(attention.Projections.Length == 1, at + $"'{attention.Projections[0].Name}' is not queries, keys and values in a matrix each");
        Refuse(attention.Projections.Length == 2, at + "values are keys");
        Refuse(attention.ClampLimit != 0, at + "queries, keys and values are clamped");
        Refuse(attention.ValueNorm is not null, at + "values are normed");
        Refuse(attention.IsNormedAfterRope && attention.QueryNorm is not null, at + "queries and keys are normed after RoPE");
        Refuse(attention.Gate != OutputGate.None, at + "attention is gated");
        Refuse(attention.OutputNorm is not null, at + "attention is normed before its last matrix");
        Refuse(attention.OutputScale != 1, at + "attention is scaled");
        Refuse(attention.Options.AlibiBias != 0, at + "attention's scores have ALiBi's bias");
        Refuse(attention.Options.Temperature.Scale != 0, at + "queries are scaled by position");
        Refuse(attention.Options.Sinks is not null, at + "attention has sinks");
        Refuse(network.Gate is null, at + "the network has no gate of its own");
        Refuse(network.InnerNorm is not null, at + "the network is normed inside");
        Refuse(network.Activation is not (Activation.Silu or Activation.Gelu), at + $"the network's activation is {network.Activation}, not {Activation.Silu} or {Activation.Gelu}");
        int width = attention.Output.Weight.Rows, keySize = attention.Kv.KeySize;
        return new PlainLayer
        {
            AttentionNorm = Norm(layer.MixerNorm, width, at + "the norm before attention") ?? throw new OtherPartException(at + "there is no norm before attention"),
            Query = Linear(new Linear(attention.Projections[0], attention.QueryBias), file),
            Key = Linear(new Linear(attention.Projections[1], attention.KeyBias), file),
            Value = Linear(new Linear(attention.Projections[2], attention.ValueBias), file),
            QueryNorm = Norm(attention.QueryNorm, attention.Options.Heads * keySize, at + "the norm of queries"),
            KeyNorm = Norm(attention.KeyNorm, attention.Kv.Heads * keySize, at + "the norm of keys"),
            Rope = attention.Rope?.For(positions),
            Heads = attention.Options.Heads,
            Kv = attention.Kv,
            Scale = attention.Options.Scale,
            SoftCap = attention.Options.SoftCap,
            Output = Linear(attention.Output, file),
            AttentionPostNorm = Norm(layer.MixerPostNorm, width, at + "the norm behind attention"),
            FeedForwardNorm = Norm(layer.FeedForwardNorm, width, at + "the norm before the network") ?? throw new OtherPartException(at + "there is no norm before the network"),
            Activation = network.Activation,
            Gate = Linear(network.Gate!.Value, file),
            Up = Linear(network.Up, file),
            Down = Linear(network.Down, file),
            FeedForwardPostNorm = Norm(layer.FeedForwardPostNorm, width, at + "the norm behind the network"),
            ResidualScale = layer.ResidualScale,
        };
    }

    private static PlainNorm? Norm(Norm? norm, int columns, string what)
    {
        if (norm is null) return null;
        Refuse(norm.Options.Kind != NormKind.Rms, $"{what} is {norm.Options.Kind}, not {NormKind.Rms}");
        Refuse(norm.Bias is not null, $"{what} has a bias");
        Refuse(norm.Gain is { Rows: > 1 }, $"{what} has a gain for each head");
        return new PlainNorm(norm.Gain?.Name, norm.Gain?.Columns ?? 0, norm.Options.Epsilon, norm.Options.Size == 0 ? columns : norm.Options.Size);
    }

    private static PlainLinear Linear(Linear linear, GgufFile file)
    {
        string name = linear.Weight.Name, scale = (name.EndsWith(WeightSuffix, StringComparison.Ordinal) ? name[..^WeightSuffix.Length] : name + ".") + ScaleSuffix;
        Refuse(file.Find(scale) is not null, $"'{linear.Weight.Name}' has a scale beside it, '{scale}'");
        return new PlainLinear(linear.Weight.Name, linear.Bias?.Name, linear.Weight.Rows, linear.Weight.Columns);
    }

    private static void Refuse(bool isOther, string part)
    {
        if (isOther) throw new OtherPartException(part);
    }

    private sealed class OtherPartException(string part) : Exception(part);
}
