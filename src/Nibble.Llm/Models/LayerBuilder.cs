using Nibble.Core.Compute;
using Nibble.Llm.Layers;

namespace Nibble.Llm.Models;

/// <summary>Puts one layer's parts together from its tensors.</summary>
/// <param name="model">The model.</param>
/// <param name="index">The layer.</param>
internal sealed class LayerBuilder(DecoderBuilder model, int index)
{
    /// <summary>The model.</summary>
    public DecoderBuilder Model => model;

    /// <summary>The file.</summary>
    public ModelReader Reader => model.Reader;

    /// <summary>Which layer, from 0.</summary>
    public int Index => index;

    /// <summary>Query heads.</summary>
    public int Heads => model.Heads[index];

    /// <summary>KV heads.</summary>
    public int KvHeads => model.KvHeads[index];

    /// <summary>Hidden width of the network.</summary>
    public int Hidden => model.Hidden.Length > 0 ? model.Hidden[index] : Reader.Width("feed_forward_length");

    /// <summary>Hidden width of an expert: the file's own number, else that of the layer's network shared among the experts that a token uses.</summary>
    public int ExpertHidden()
    {
        int hidden = Reader.HasKey("expert_feed_forward_length") ? Reader.PerLayer("expert_feed_forward_length", model.LayerCount, 0, 1 << 20)[index] : 0;
        return hidden > 0 ? hidden : Math.Max(1, Hidden / ExpertsUsed(1024));
    }

    /// <summary>Hidden width of an expert, which the file must name.</summary>
    public int NamedExpertHidden() => Reader.PerLayer("expert_feed_forward_length", model.LayerCount, 1, 1 << 20)[index];

    /// <summary>The network that every token goes through beside the experts: <c>ffn_gate_shexp</c>, <c>ffn_up_shexp</c>, <c>ffn_down_shexp</c>.</summary>
    /// <param name="hidden">Hidden width; 0 for no such network.</param>
    public DenseFeedForward? Shared(int hidden) => hidden == 0 ? null : Gated(hidden: hidden, suffix: "_shexp");

    /// <summary>What the experts' weights are multiplied by.</summary>
    public float ExpertScale() => Reader.Factor("expert_weights_scale");

    /// <summary>What the file's <c>expert_gating_func</c> says.</summary>
    /// <param name="fallback">Where the key is absent or 0; null where it must be there.</param>
    public GatingFunction Gating(GatingFunction? fallback = null) => Reader.Integer("expert_gating_func", fallback is null ? 1 : 0, 4, fallback is null ? null : 0) switch
    {
        0 => fallback!.Value,
        1 => GatingFunction.Softmax,
        2 => GatingFunction.Sigmoid,
        3 => GatingFunction.SoftmaxOfChosen,
        _ => GatingFunction.SqrtSoftplus,
    };

    /// <summary>Experts as the file's keys describe them: gating function, normalization and scale, with an optional bias of the choice.</summary>
    /// <param name="fallback">Gating function where the file names none; null where it must.</param>
    public ExpertTraits KeyedExperts(GatingFunction? fallback = null) => new()
    {
        Hidden = ExpertHidden(),
        Gating = Gating(fallback),
        Normalize = Reader.Flag("expert_weights_norm", false),
        Scale = ExpertScale(),
        SelectionBias = Presence.Optional,
    };

    /// <summary>A tensor's name.</summary>
    /// <param name="name">The part after <c>blk.N.</c>.</param>
    public string Name(string name) => $"blk.{index}.{name}";

    /// <summary>A norm of the whole state.</summary>
    /// <param name="name">The part of its name between <c>blk.N.</c> and <c>.weight</c>.</param>
    public Norm Norm(string name) => model.Norm(Name(name));

    /// <summary>A norm of the whole state whose tensor has no <c>.weight</c> after its name.</summary>
    /// <param name="name">The part of its name after <c>blk.N.</c>.</param>
    /// <param name="columns">Values of its gain; null for the whole state.</param>
    public Norm BareNorm(string name, int? columns = null) =>
        new(new NormOptions(model.NormKind, model.NormEpsilon), Reader.Vector(Name(name), columns ?? model.Width), null);

    /// <summary>A norm of the whole state, where the file has it.</summary>
    /// <param name="name">The part of its name between <c>blk.N.</c> and <c>.weight</c>.</param>
    public Norm? OptionalNorm(string name) => Reader.Has(Name(name) + ".weight") ? Norm(name) : null;

    /// <summary>A matrix with a bias.</summary>
    /// <param name="name">The part of its name between <c>blk.N.</c> and <c>.weight</c>.</param>
    /// <param name="columns">Inputs.</param>
    /// <param name="rows">Outputs.</param>
    /// <param name="bias">Whether there is a bias.</param>
    /// <param name="isScaled">Whether a scale beside it counts or is passed over; null where the architecture knows none.</param>
    public Linear Linear(string name, int columns, int rows, Presence bias, bool? isScaled = true) =>
        new(Reader.Matrix(Name(name) + ".weight", columns, rows, isScaled), Reader.Vector(Name(name) + ".bias", rows, bias));

    /// <summary>Attention.</summary>
    /// <param name="traits">How it differs from the plainest one.</param>
    public AttentionLayer Attention(AttentionTraits traits)
    {
        if (Heads == 0) throw Reader.Error("attention.head_count", $"{Reader.Architecture}.attention.head_count is 0 for layer {index}, which has attention; it must be 1 or more.");
        if (KvHeads == 0) throw Reader.Error("attention.head_count_kv", $"{Reader.Architecture}.attention.head_count_kv is 0 for layer {index}, which has attention; it must be 1 or more.");
        if (Heads % KvHeads != 0)
            throw Reader.Error("attention.head_count_kv", $"layer {index} has {Heads} heads on {KvHeads} KV heads; the first must be a multiple of the second.");
        int keySize = traits.KeySize ?? model.HeadSize("attention.key_length");
        int valueSize = traits.ValueSize ?? model.HeadSize("attention.value_length");
        int queryRows = Heads * keySize, keyRows = KvHeads * keySize, valueRows = KvHeads * valueSize;
        int projected = traits.Gate == OutputGate.InQuery ? 2 * queryRows : queryRows;
        int allRows = projected + keyRows + valueRows;
        bool isFused = traits.Gate != OutputGate.InQuery && Reader.Has(Name("attn_qkv.weight"));
        // A fused matrix may come with a fused bias or, where it has none, with separate ones (llama.cpp v0.5.0, create_tensor_qkv).
        bool isBiasFused = isFused && (Reader.Has(Name("attn_qkv.bias")) || !Reader.Has(Name("attn_q.bias")));
        Weight? Bias(string name, int rows) => isBiasFused ? null : Reader.Vector(Name(name) + ".bias", rows, traits.Bias);
        KvLayer kv = new(KvHeads, keySize, valueSize, traits.Window, traits.IsChunked);
        bool hasValues = traits.Values == Presence.Required || (traits.Values == Presence.Optional && Reader.Has(Name("attn_v.weight")));
        int gateRows = traits.Gate == OutputGate.Values ? Heads * valueSize : traits.Gate == OutputGate.Heads ? Heads : 0;
        return new AttentionLayer
        {
            KvIndex = traits.SharedKv ?? model.AddKv(kv),
            Kv = kv,
            ReusesKv = traits.SharedKv is not null,
            Projections = isFused
                ? [Reader.Matrix(Name("attn_qkv.weight"), model.Width, allRows, traits.IsScaled)]
                : traits.SharedKv is not null
                ? [Reader.Matrix(Name("attn_q.weight"), model.Width, projected, traits.IsScaled)]
                :
                [
                    Reader.Matrix(Name("attn_q.weight"), model.Width, projected, traits.IsScaled),
                    Reader.Matrix(Name("attn_k.weight"), model.Width, keyRows, traits.IsScaled),
                    .. hasValues ? (Weight[])[Reader.Matrix(Name("attn_v.weight"), model.Width, valueRows, traits.IsScaled)] : [],
                ],
            Bias = isBiasFused ? Reader.Vector(Name("attn_qkv.bias"), allRows, traits.Bias) : null,
            QueryBias = Bias("attn_q", projected),
            KeyBias = Bias("attn_k", keyRows),
            ValueBias = Bias("attn_v", valueRows),
            ClampLimit = traits.ClampLimit,
            QueryNorm = HeadNorm(traits, "attn_q_norm", Heads, keySize),
            KeyNorm = traits.SharedKv is null ? HeadNorm(traits, "attn_k_norm", KvHeads, keySize) : null,
            ValueNorm = traits.IsValueNormed ? new Norm(new NormOptions(model.NormKind, model.NormEpsilon, valueSize), null, null) : null,
            IsNormedAfterRope = traits.IsNormedAfterRope,
            Rope = traits.Pairing is { } pairing ? model.Rotations.For(keySize, pairing, traits.Rope) : null,
            Options = new AttentionOptions(Heads, traits.Scale ?? (1 / MathF.Sqrt(keySize)))
            {
                SoftCap = traits.SoftCap,
                AlibiBias = traits.AlibiBias,
                Temperature = traits.Temperature,
                Sinks = Reader.Vector(Name("attn_sinks.weight"), Heads, traits.Sinks),
            },
            Gate = traits.Gate,
            GateActivation = traits.GateActivation,
            OutputScale = traits.OutputScale,
            GateProjection = gateRows == 0 ? null : Reader.Matrix(Name("attn_gate.weight"), model.Width, gateRows, isScaled: false),
            OutputNorm = traits.SubNorm == Presence.Required || (traits.SubNorm == Presence.Optional && Reader.Has(Name("attn_sub_norm.weight")))
                ? model.Norm(Name("attn_sub_norm"), Heads * valueSize, 0)
                : null,
            Output = Linear("attn_output", Heads * valueSize, model.Width, traits.OutputBias),
        };
    }

    /// <summary>A network with a gate: <c>ffn_gate</c>, <c>ffn_up</c>, <c>ffn_down</c>.</summary>
    /// <param name="activation">The activation.</param>
    /// <param name="bias">Whether the matrices have biases.</param>
    /// <param name="hidden">Hidden width; null for the layer's.</param>
    /// <param name="suffix">What follows the names, as <c>_shexp</c> for shared experts.</param>
    /// <param name="innerNorm">Name of a norm before the last matrix, or null.</param>
    public DenseFeedForward Gated(
        Activation activation = Activation.Silu, Presence bias = Presence.Absent, int? hidden = null, string suffix = "", string? innerNorm = null) => new()
    {
        Activation = activation,
        InnerNorm = innerNorm is null ? null : model.Norm(Name(innerNorm), hidden ?? Hidden, 0),
        Gate = Dense("ffn_gate" + suffix, model.Width, hidden ?? Hidden, bias, IsScaled(suffix)),
        Up = Dense("ffn_up" + suffix, model.Width, hidden ?? Hidden, bias, IsScaled(suffix)),
        Down = Dense("ffn_down" + suffix, hidden ?? Hidden, model.Width, bias, IsScaled(suffix)),
    };

    /// <summary>A network whose <c>ffn_up</c> holds gate and up one after the other.</summary>
    /// <param name="activation">The activation.</param>
    /// <param name="bias">Whether the matrices have biases.</param>
    /// <param name="hidden">Hidden width; null for the layer's.</param>
    /// <param name="suffix">What follows the names.</param>
    public DenseFeedForward Fused(Activation activation = Activation.Silu, Presence bias = Presence.Absent, int? hidden = null, string suffix = "") => new()
    {
        Activation = activation,
        IsFused = true,
        Up = Dense("ffn_up" + suffix, model.Width, 2 * (hidden ?? Hidden), bias, IsScaled(suffix)),
        Down = Dense("ffn_down" + suffix, hidden ?? Hidden, model.Width, bias, IsScaled(suffix)),
    };

    /// <summary>A network without a gate: <c>ffn_up</c>, <c>ffn_down</c>.</summary>
    /// <param name="activation">The activation.</param>
    /// <param name="bias">Whether the matrices have biases.</param>
    /// <param name="hidden">Hidden width; null for the layer's.</param>
    /// <param name="suffix">What follows the names.</param>
    public DenseFeedForward Plain(Activation activation, Presence bias, int? hidden = null, string suffix = "") => new()
    {
        Activation = activation,
        Up = Dense("ffn_up" + suffix, model.Width, hidden ?? Hidden, bias, IsScaled(suffix)),
        Down = Dense("ffn_down" + suffix, hidden ?? Hidden, model.Width, bias, IsScaled(suffix)),
    };

    /// <summary>A mixture of experts.</summary>
    /// <param name="traits">How it differs from the plainest one.</param>
    public ExpertFeedForward Experts(ExpertTraits traits)
    {
        int experts = Reader.Integer("expert_count", 1, 1024);
        int used = ExpertsUsed(experts), hidden = traits.Hidden ?? Hidden;
        int width = traits.LatentSize > 0 ? traits.LatentSize : model.Width;
        bool isFused = traits.HasGate && Reader.Has(Name("ffn_gate_up_exps.weight"));
        ExpertLinear Part(string name, int columns, int rows)
        {
            // llama.cpp knows no scale beside gate and up in one.
            bool? isScaled = name == "ffn_gate_up_exps" ? null : (model.Scales & NetworkScales.Experts) != 0;
            bool hasBias = traits.Bias == Presence.Required || (traits.Bias == Presence.Optional && Reader.Has(Name(name) + ".bias"));
            return new ExpertLinear(Reader.Experts(Name(name) + ".weight", columns, rows, experts, used, isScaled), hasBias ? Reader.Vectors(Name(name) + ".bias", rows, experts) : null);
        }

        int groups = Reader.Integer("expert_group_count", 0, experts - 1, 0);
        if (groups > 1 && experts % groups != 0)
            throw Reader.Error("expert_group_count", $"{experts} experts cannot be shared among {groups} groups; they must be a multiple.");
        return new ExpertFeedForward
        {
            Activation = traits.Activation,
            Router = Linear("ffn_gate_inp", model.Width, experts, traits.RouterBias, isScaled: null),
            RouterNorm = traits.RouterNorm,
            RouterScale = traits.RouterScale,
            InputNorm = traits.InputNorm,
            IsRoutedEarly = traits.IsRoutedEarly,
            Routing = new Routing(used, traits.Normalize, traits.Scale, traits.Gating)
            {
                Groups = groups,
                GroupsUsed = groups > 1 ? Reader.Integer("expert_group_used_count", 1, groups - 1) : 0,
            },
            SelectionBias = Reader.Vector(Name(traits.SelectionBiasName), experts, traits.SelectionBias),
            IsInputWeighted = traits.IsInputWeighted,
            IsFused = isFused,
            Gate = traits.HasGate && !isFused ? Part("ffn_gate_exps", width, hidden) : null,
            Up = isFused ? Part("ffn_gate_up_exps", width, 2 * hidden) : Part("ffn_up_exps", width, hidden),
            Down = Part("ffn_down_exps", hidden, width),
            LatentDown = traits.LatentSize > 0 ? Reader.Matrix(Name("ffn_latent_down.weight"), model.Width, width, isScaled: null) : null,
            LatentUp = traits.LatentSize > 0 ? Reader.Matrix(Name("ffn_latent_up.weight"), width, model.Width, isScaled: null) : null,
            Shared = traits.Shared,
            SumScale = traits.SumScale,
            SharedGate = traits.HasSharedGate ? Reader.Matrix(Name("ffn_gate_inp_shexp.weight"), model.Width, 1, isScaled: null) : null,
        };
    }

    // Layers without experts may say 0.
    private int ExpertsUsed(int highest)
    {
        int used = Reader.PerLayer("expert_used_count", model.LayerCount, 0, highest)[index];
        return used > 0 ? used : throw Reader.Error("expert_used_count", $"{Reader.Architecture}.expert_used_count is 0 for layer {index}, which has {Reader.Integer("expert_count", 0, int.MaxValue, 0)} experts; it must be 1 to {highest}.");
    }

    private bool IsScaled(string suffix) => (model.Scales & (suffix.Length == 0 ? NetworkScales.Dense : NetworkScales.Shared)) != 0;

    private Linear Dense(string name, int columns, int rows, Presence bias, bool isScaled)
    {
        // In the dense network the scale beside a weight multiplies the bias too (llama.cpp v0.5.0, build_ffn).
        string weight = Name(name) + ".weight";
        float[] scales = bias == Presence.Absent ? [] : Reader.Scales(Reader.Find(weight, columns, rows), 1, isScaled);
        return new Linear(Reader.Matrix(weight, columns, rows, isScaled), Reader.Vector(Name(name) + ".bias", rows, bias, scales));
    }

    private Norm? HeadNorm(AttentionTraits traits, string name, int heads, int size)
    {
        if (traits.QueryKeyNorm == Models.HeadNorm.None || (traits.IsQueryKeyNormOptional && !Reader.Has(Name(name) + ".weight"))) return null;
        NormOptions options = new(traits.QueryKeyNormKind ?? model.NormKind, model.NormEpsilon, traits.QueryKeyNorm == Models.HeadNorm.AllHeads ? 0 : size);
        if (traits.QueryKeyNorm == Models.HeadNorm.HeadWithoutGain) return new Norm(options, null, null);
        Weight gain = traits.QueryKeyNorm switch
        {
            Models.HeadNorm.Head => Reader.Vector(Name(name) + ".weight", size),
            Models.HeadNorm.EachHead => Reader.Vectors(Name(name) + ".weight", size, heads),
            _ => Reader.Vector(Name(name) + ".weight", heads * size),
        };
        return new Norm(options, gain, Reader.Vector(Name(name) + ".bias", gain.Columns, traits.QueryKeyNormBias));
    }
}
