using Nibble.Core.Gguf;

namespace Nibble.Quantize.Import;

/// <summary>
/// RoPE in <c>config.json</c>, old (<c>rope_theta</c> and <c>rope_scaling</c> with <c>type</c>) and new (<c>rope_parameters</c>, alone or one for each kind of layer), as GGUF has it: keys, and
/// tensors of frequency factors.
/// </summary>
/// <remarks>Formulas: transformers 4.57, modeling_rope_utils.py.</remarks>
internal static class RopeImport
{
    /// <summary>Adds keys and tensors.</summary>
    /// <param name="plan">The file.</param>
    /// <param name="family">The family.</param>
    /// <param name="config">The language model's configuration.</param>
    /// <param name="shape">Its sizes.</param>
    /// <exception cref="ImportException">It is one that GGUF cannot express.</exception>
    public static void Add(ImportPlan plan, ModelFamily family, JsonFields config, ModelShape shape)
    {
        JsonFields? all = config.FindObject("rope_parameters") ?? config.FindObject("rope_scaling");
        JsonFields? scaling = all?.FindObject("full_attention") ?? all;
        double ropeBase = scaling?.Has("rope_theta") == true ? scaling.Positive("rope_theta") : config.Positive("rope_theta", family.RopeBase);
        plan.Set("rope.freq_base", (float)ropeBase);
        if (family.Architecture is "gemma3")
        {
            JsonFields? sliding = all?.FindObject("sliding_attention");
            double local = sliding?.Has("rope_theta") == true ? sliding.Positive("rope_theta") : config.Positive("rope_local_base_freq", 10000);
            // Without the key these layers have 10000.
            if (local != 10000) plan.Set("rope.freq_base_swa", (float)local);
            if (sliding?.FindText("rope_type") is { } slidingType and not "default")
                throw sliding.Error("rope_type", $"GGUF's gemma3 scales no layer with a window ('{slidingType}'); 'default' is needed");
        }

        double share = scaling?.Has("partial_rotary_factor") == true ? scaling.Positive("partial_rotary_factor") : config.Positive("partial_rotary_factor", 1);
        int dimensions = (int)(shape.HeadSize * share);
        if (share > 1 || dimensions < 2 || dimensions % 2 != 0) throw config.Error("partial_rotary_factor", $"an even number of a head's {shape.HeadSize} values must turn");
        if (dimensions != shape.HeadSize && family.HasAdjacentRope) throw config.Error("partial_rotary_factor", $"GGUF's {plan.Architecture} turns whole heads; 1 is needed");
        plan.Set("rope.dimension_count", (uint)dimensions);

        string type = scaling is null ? "default" : scaling.FindText("rope_type") ?? scaling.FindText("type") ?? "default";
        switch (type)
        {
            case "default":
                break;
            case "linear":
                plan.Set("rope.scaling.type", "linear");
                plan.Set("rope.scaling.factor", (float)scaling!.Positive("factor"));
                break;
            case "dynamic":
                plan.Note($"rope_scaling is 'dynamic', which changes nothing up to {shape.Context} positions; GGUF has no such scaling beyond them.");
                break;
            case "llama3":
                float[] factors = Llama3Factors(scaling!, ropeBase, dimensions);
                plan.AddVector("rope_freqs.weight", factors.Length, () => factors);
                break;
            case "yarn":
                Yarn(plan, family, config, scaling!, shape, ropeBase);
                break;
            case "longrope" or "su":
                LongRope(plan, config, scaling!, shape, dimensions);
                break;
            default:
                throw scaling!.Error(scaling.Has("rope_type") ? "rope_type" : "type", "default, linear, dynamic, llama3, yarn and longrope are known");
        }
    }

    private static int OriginalContext(JsonFields config, JsonFields scaling, ModelShape shape) =>
        scaling.FindInteger("original_max_position_embeddings", 1, int.MaxValue) ?? config.Integer("original_max_position_embeddings", 1, int.MaxValue, shape.Context);

    // What each angle is divided by: 1 for short waves, the factor for long ones, a mix between.
    private static float[] Llama3Factors(JsonFields scaling, double ropeBase, int dimensions)
    {
        double factor = scaling.Positive("factor"), low = scaling.Positive("low_freq_factor"), high = scaling.Positive("high_freq_factor");
        if (high <= low) throw scaling.Error("high_freq_factor", $"a number above low_freq_factor, {low}, is needed");
        int original = scaling.Integer("original_max_position_embeddings", 1, int.MaxValue);
        float[] factors = new float[dimensions / 2];
        for (int i = 0; i < factors.Length; i++)
        {
            float frequency = 1 / MathF.Pow((float)ropeBase, 2f * i / dimensions);
            double wave = 2 * Math.PI / frequency;
            double smooth = (original / wave - low) / (high - low);
            factors[i] = wave < original / high ? 1 : wave > original / low ? (float)factor : (float)(1 / (((1 - smooth) / factor) + smooth));
        }

        return factors;
    }

    private static void Yarn(ImportPlan plan, ModelFamily family, JsonFields config, JsonFields scaling, ModelShape shape, double ropeBase)
    {
        if (ropeBase <= 1) throw config.Error("rope_theta", "yarn needs a number above 1");
        double factor = scaling.Positive("factor");
        plan.Set("rope.scaling.type", "yarn");
        plan.Set("rope.scaling.factor", (float)factor);
        plan.Set("rope.scaling.original_context_length", (uint)OriginalContext(config, scaling, shape));
        if (!scaling.Flag("truncate", true)) throw scaling.Error("truncate", "GGUF rounds yarn's bounds; true is needed");
        double fast = scaling.Positive("beta_fast", 32), slow = scaling.Positive("beta_slow", 1);
        if (family.HasYarnNumbers)
        {
            plan.Set("rope.scaling.yarn_beta_fast", (float)fast);
            plan.Set("rope.scaling.yarn_beta_slow", (float)slow);
        }
        else if (fast != 32 || slow != 1)
        {
            throw scaling.Error(fast != 32 ? "beta_fast" : "beta_slow", $"GGUF's {plan.Architecture} takes {(fast != 32 ? 32 : 1)} for granted");
        }

        // Runtimes multiply by 0.1 ln(factor) + 1 of their own; the key is what comes on top.
        double usual = factor <= 1 ? 1 : (0.1 * Math.Log(factor)) + 1;
        if (scaling.Has("attention_factor") && Math.Abs((scaling.Positive("attention_factor") / usual) - 1) > 1e-7)
            plan.Set("rope.scaling.attn_factor", (float)(scaling.Positive("attention_factor") / usual));
        bool hasMultipliers = scaling.Has("mscale") || scaling.Has("mscale_all_dim");
        if (hasMultipliers && !family.HasYarnNumbers) throw scaling.Error(scaling.Has("mscale") ? "mscale" : "mscale_all_dim", $"GGUF's {plan.Architecture} has no place for it");
    }

    private static void LongRope(ImportPlan plan, JsonFields config, JsonFields scaling, ModelShape shape, int dimensions)
    {
        int original = OriginalContext(config, scaling, shape);
        float[] Factors(string name)
        {
            float[] factors = scaling.FindFloats(name) ?? throw scaling.Error(name, "longrope needs it");
            if (factors.Length != dimensions / 2) throw scaling.Error(name, $"{dimensions / 2} numbers are needed, one for two values of a head that turn; there are {factors.Length}");
            return factors.All(factor => factor > 0) ? factors : throw scaling.Error(name, "numbers above 0 are needed");
        }

        float[] longFactors = Factors("long_factor"), shortFactors = Factors("short_factor");
        // The ratio of the contexts counts where the model has an original one, whatever 'factor' says.
        double factor = config.Has("original_max_position_embeddings") || scaling.Has("original_max_position_embeddings") ? (double)shape.Context / original : scaling.Positive("factor", 1);
        double attention = scaling.Has("attention_factor") ? scaling.Positive("attention_factor") : factor <= 1 ? 1 : Math.Sqrt(1 + (Math.Log(factor) / Math.Log(original)));
        plan.Set("rope.scaling.type", "longrope");
        plan.Set("rope.scaling.original_context_length", (uint)original);
        plan.Set("rope.scaling.attn_factor", (float)attention);
        plan.AddVector("rope_factors_long.weight", longFactors.Length, () => longFactors);
        plan.AddVector("rope_factors_short.weight", shortFactors.Length, () => shortFactors);
    }
}
