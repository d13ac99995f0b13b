using Nibble.Core.Compute;
using Nibble.Llm.Layers;

namespace Nibble.Llm.Models;

/// <summary>The rotations of a model: read from the file once, built once for each head size.</summary>
internal sealed class Rotations
{
    private readonly ModelReader _reader;
    private readonly RopePairing _pairing;
    private readonly Dictionary<int, RopeChoice> _choices = [];

    /// <summary>The rotations of a file.</summary>
    public Rotations(ModelReader reader, RopePairing pairing)
    {
        _reader = reader;
        _pairing = pairing;
    }

    /// <summary>The rotation of heads of a size.</summary>
    /// <param name="headSize">Values of a head.</param>
    public RopeChoice For(int headSize)
    {
        if (_choices.TryGetValue(headSize, out RopeChoice? choice)) return choice;
        int dimensions = _reader.Integer("rope.dimension_count", 0, headSize, headSize & ~1);
        if (dimensions % 2 != 0)
            throw _reader.Error("rope.dimension_count", $"{dimensions} values of a head turn; it must be an even number.");
        string scaling = _reader.Text("rope.scaling.type", "linear");
        if (scaling is not ("none" or "linear" or "yarn" or "longrope"))
            throw _reader.Error("rope.scaling.type", $"rope scaling '{scaling}' is not known; known are none, linear, yarn and longrope.");
        float factor = _reader.Number("rope.scaling.factor", _reader.Number("rope.scale_linear", 0));
        int context = _reader.ContextLength();
        int original = _reader.Integer("rope.scaling.original_context_length", 0, int.MaxValue, context);
        RopeSettings settings = new()
        {
            Dimensions = dimensions,
            Pairing = _pairing,
            FrequencyBase = Positive("rope.freq_base", 10000),
            Factor = scaling == "none" || factor == 0 ? 1 : factor,
            OriginalContext = original == 0 ? context : original,
            IsYarn = scaling == "yarn",
            AttentionFactor = _reader.Number("rope.scaling.attn_factor", 1),
        };
        if (settings.Factor < 0)
            throw _reader.Error("rope.scaling.factor", $"the rope scaling factor is {settings.Factor}; it must be positive.");
        if (settings is { IsYarn: true, FrequencyBase: <= 1 })
            throw _reader.Error("rope.freq_base", $"rope.freq_base is {settings.FrequencyBase}; yarn needs one above 1.");
        // Frequency factors for any length go before those of longrope, of which the length of the session's context chooses (llama.cpp v0.5.0, get_rope_factors).
        bool isLongRope = scaling == "longrope" && !_reader.Has("rope_freqs.weight");
        choice = new RopeChoice(
            settings.Build(FrequencyFactors(isLongRope ? "rope_factors_short.weight" : "rope_freqs.weight", dimensions / 2)),
            isLongRope ? settings.Build(FrequencyFactors("rope_factors_long.weight", dimensions / 2)) : null,
            settings.OriginalContext);
        _choices.Add(headSize, choice);
        return choice;
    }

    private float[] FrequencyFactors(string name, int pairs)
    {
        float[] factors = _reader.Floats(name, pairs);
        foreach (float factor in factors)
            if (factor == 0) throw _reader.Error("rope.dimension_count", $"tensor '{name}' holds 0; angles are divided by its values.");
        return factors;
    }

    private float Positive(string key, float fallback)
    {
        float value = _reader.Number(key, fallback);
        return value > 0 ? value : throw _reader.Error(key, $"{_reader.Architecture}.{key} is {value}; it must be positive.");
    }
}
