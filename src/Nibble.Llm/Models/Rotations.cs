using Nibble.Core.Compute;
using Nibble.Llm.Layers;

namespace Nibble.Llm.Models;

/// <summary>The rotations of a model: read from the file once, built once for each head size and kind of layer.</summary>
/// <param name="reader">The file.</param>
internal sealed class Rotations(ModelReader reader)
{
    private readonly Dictionary<(int HeadSize, RopePairing Pairing, RopeTraits Traits), RopeChoice> _choices = [];

    /// <summary>How many times longer than in training the file makes the context; 1 for not at all.</summary>
    public static float Factor(ModelReader reader)
    {
        float factor = reader.Number("rope.scaling.factor", reader.Number("rope.scale_linear", 0));
        if (factor < 0) throw reader.Error("rope.scaling.factor", $"the rope scaling factor is {factor}; it must be positive.");
        return factor == 0 || ScalingType(reader) == "none" ? 1 : factor;
    }

    /// <summary>The file's <c>rope.scaling.type</c>.</summary>
    public static string ScalingType(ModelReader reader)
    {
        string scaling = reader.Text("rope.scaling.type", "linear");
        return scaling is "none" or "linear" or "yarn" or "longrope"
            ? scaling
            : throw reader.Error("rope.scaling.type", $"rope scaling '{scaling}' is not known; known are none, linear, yarn and longrope.");
    }

    /// <summary>Positions that the model was trained for before its context was made longer.</summary>
    public static int OriginalContext(ModelReader reader)
    {
        int context = reader.ContextLength();
        int original = reader.Integer("rope.scaling.original_context_length", 0, int.MaxValue, context);
        return original == 0 ? context : original;
    }

    /// <summary>The rotation of heads of a size.</summary>
    /// <param name="headSize">Values of a head.</param>
    /// <param name="pairing">Which values turn together.</param>
    /// <param name="traits">What differs from the file's keys.</param>
    public RopeChoice For(int headSize, RopePairing pairing, RopeTraits traits)
    {
        if (_choices.TryGetValue((headSize, pairing, traits), out RopeChoice? choice)) return choice;
        int dimensions = traits.Dimensions ?? reader.Integer("rope.dimension_count", 0, headSize - traits.Offset, headSize & ~1);
        if (dimensions % 2 != 0)
            throw reader.Error("rope.dimension_count", $"{dimensions} values of a head turn; it must be an even number.");
        if (traits.IsWhole && dimensions != headSize)
            throw reader.Error("rope.dimension_count", $"{dimensions} values of a head turn; {reader.Architecture} turns whole heads, which have {headSize}.");
        string scaling = ScalingType(reader);
        RopeSettings settings = new()
        {
            Traits = traits,
            Dimensions = dimensions,
            Pairing = pairing,
            FrequencyBase = traits.FrequencyBase ?? reader.Positive("rope.freq_base", 10000),
            Factor = traits.Factor ?? Factor(reader),
            OriginalContext = OriginalContext(reader),
            IsYarn = traits.IsYarnAllowed && scaling == "yarn",
            AttentionFactor = traits.HasAttentionFactor ? reader.Number("rope.scaling.attn_factor", 1) : 1,
        };
        if (settings is { IsYarn: true, FrequencyBase: <= 1 })
            throw reader.Error("rope.freq_base", $"rope.freq_base is {settings.FrequencyBase}; yarn needs one above 1.");
        // Frequency factors for any length go before those of longrope, of which the length of the session's context chooses (llama.cpp v0.5.0, get_rope_factors).
        bool isLongRope = traits.HasFrequencyFactors && !reader.Has("rope_freqs.weight") && reader.Has("rope_factors_long.weight");
        float[] Factors(string name) => traits.HasFrequencyFactors ? FrequencyFactors(name, dimensions / 2) : [];
        choice = new RopeChoice(
            settings.Build(Factors(isLongRope ? "rope_factors_short.weight" : "rope_freqs.weight")),
            isLongRope ? settings.Build(Factors("rope_factors_long.weight")) : null,
            settings.OriginalContext);
        _choices.Add((headSize, pairing, traits), choice);
        return choice;
    }

    private float[] FrequencyFactors(string name, int pairs)
    {
        float[] factors = reader.Floats(name, pairs);
        foreach (float factor in factors)
            if (factor == 0) throw reader.Error("rope.dimension_count", $"tensor '{name}' holds 0; angles are divided by its values.");
        return factors;
    }
}
