using Nibble.Core.Compute;
using Nibble.Llm.Layers;

namespace Nibble.Llm.Models;

/// <summary>The sizes of multi-head latent attention, and how it scores.</summary>
internal sealed record LatentAttentionTraits
{
    /// <summary>Values between the two matrices of queries; 0 for one matrix.</summary>
    public required int QueryRank { get; init; }

    /// <summary>Values of the latent.</summary>
    public required int Rank { get; init; }

    /// <summary>Values of a head's query and key.</summary>
    public required int HeadSize { get; init; }

    /// <summary>Values of them that turn, the last ones.</summary>
    public required int TurnedSize { get; init; }

    /// <summary>Values of a head's value.</summary>
    public required int ValueSize { get; init; }

    /// <summary>Whether the file has matrices <c>attn_k_b</c> and <c>attn_v_b</c> a head; else it has <c>attn_kv_b</c>.</summary>
    public required bool IsAbsorbed { get; init; }

    /// <summary>Which values RoPE turns together; null for no RoPE.</summary>
    public required RopePairing? Pairing { get; init; }

    /// <summary>How RoPE differs from what the file's keys say.</summary>
    public RopeTraits Rope { get; init; } = RopeTraits.Plain;

    /// <summary>What scores are multiplied by.</summary>
    public required float Scale { get; init; }

    /// <summary>Factor of the queries that grows with the position.</summary>
    public QueryTemperature Temperature { get; init; }

    /// <summary>The layer.</summary>
    /// <remarks>Tensors: llama.cpp v0.5.0, src/models/deepseek2.cpp, kimi-linear.cpp and minicpm3.cpp, which pass over scales beside the matrices but the last one's.</remarks>
    /// <param name="layer">Which layer.</param>
    public LatentAttentionLayer Build(LayerBuilder layer)
    {
        ModelReader reader = layer.Reader;
        DecoderBuilder model = layer.Model;
        int heads = layer.Heads, plain = HeadSize - TurnedSize, kvHeads = IsAbsorbed ? 1 : heads;
        if (heads == 0) throw reader.Error("attention.head_count", $"{reader.Architecture}.attention.head_count is 0 for layer {layer.Index}; it must be 1 or more.");
        if (plain < 1 && IsAbsorbed)
            throw reader.Error("rope.dimension_count", $"{TurnedSize} values of a head of {HeadSize} turn; {reader.Architecture} needs at least one that does not.");
        if (layer.KvHeads != kvHeads)
            throw reader.Error("attention.head_count_kv", $"layer {layer.Index} has {layer.KvHeads} KV heads; with {(IsAbsorbed ? "attn_k_b and attn_v_b" : "attn_kv_b")} it must have {kvHeads}.");
        Weight Matrix(string name, int columns, int rows) => reader.Matrix(layer.Name(name), columns, rows, isScaled: false);
        Weight PerHead(string name, int columns, int rows) => reader.Experts(layer.Name(name), columns, rows, heads, heads, isScaled: false);
        RopeChoice? Turn(int size) => Pairing is not { } pairing ? null : model.Rotations.For(size, pairing, Rope with { Dimensions = TurnedSize, Offset = size - TurnedSize });
        KvLayer kv = IsAbsorbed ? new KvLayer(1, Rank + TurnedSize, Rank) : new KvLayer(heads, HeadSize, ValueSize);
        return new LatentAttentionLayer
        {
            KvIndex = model.AddKv(kv),
            PlainSize = plain,
            RopeSize = TurnedSize,
            ValueSize = ValueSize,
            Rank = Rank,
            QueryDown = QueryRank == 0 ? null : Matrix("attn_q_a.weight", model.Width, QueryRank),
            QueryNorm = QueryRank == 0 ? null : model.Norm(layer.Name("attn_q_a_norm"), QueryRank, 0),
            Query = QueryRank == 0 ? Matrix("attn_q.weight", model.Width, heads * HeadSize) : Matrix("attn_q_b.weight", QueryRank, heads * HeadSize),
            KeyValueDown = Matrix("attn_kv_a_mqa.weight", model.Width, Rank + TurnedSize),
            KeyValueNorm = model.Norm(layer.Name("attn_kv_a_norm"), Rank, 0),
            KeyUp = IsAbsorbed ? PerHead("attn_k_b.weight", plain, Rank) : null,
            ValueUp = IsAbsorbed ? PerHead("attn_v_b.weight", Rank, ValueSize) : null,
            KeyValueUp = IsAbsorbed ? null : Matrix("attn_kv_b.weight", Rank, heads * (plain + ValueSize)),
            QueryRope = Turn(HeadSize),
            KeyRope = Turn(TurnedSize),
            Options = new AttentionOptions(heads, Scale) { Temperature = Temperature },
            Output = layer.Linear("attn_output", heads * ValueSize, model.Width, Presence.Absent),
        };
    }
}
