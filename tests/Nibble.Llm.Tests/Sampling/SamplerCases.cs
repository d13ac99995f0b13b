namespace Nibble.Llm.Tests.Sampling;

/// <summary>One set of sampler flags whose answers are committed as <c>tests/golden/samplers/NAME.bin</c>; compiled into the oracle program too.</summary>
/// <param name="Name">The golden's name.</param>
/// <param name="Flags">Flags and values, spelled as both llama.cpp and Nibble do.</param>
/// <param name="Vectors">The kinds of logit vectors.</param>
/// <param name="Steps">How often the vector is applied and a token drawn; above 1 for samplers that learn from the draw.</param>
internal sealed record SamplerCase(string Name, string[] Flags, Vectors Vectors = Vectors.All, int Steps = 1)
{
    /// <summary>How many candidates, by falling probability, a golden holds at most.</summary>
    public const int Stored = 32;

    /// <summary>Token i of the cases' vocabulary stands for this character plus i, so that a breaker's text names its tokens.</summary>
    public const char FirstPiece = '一';

    public static SamplerCase[] All { get; } =
    [
        Of("none", "--samplers", ""),
        Of("top_k_1", "--samplers", "top_k", "--top-k", "1"),
        Of("top_k_40", "--samplers", "top_k", "--top-k", "40"),
        Of("top_k_300", "--samplers", "top_k", "--top-k", "300"),
        Of("top_p_0.95", "--samplers", "top_p", "--top-p", "0.95"),
        Of("top_p_0.4", "--samplers", "top_p", "--top-p", "0.4"),
        Of("top_p_0", "--samplers", "top_p", "--top-p", "0"),
        Of("top_p_0.9_keep_20", "--samplers", "top_p", "--top-p", "0.9", "--min-keep", "20"),
        Of("min_p_0.05", "--samplers", "min_p", "--min-p", "0.05"),
        Of("min_p_0.5", "--samplers", "min_p", "--min-p", "0.5"),
        Of("min_p_0.3_keep_10", "--samplers", "min_p", "--min-p", "0.3", "--min-keep", "10"),
        Of("typical_0.9", "--samplers", "typ_p", "--typical", "0.9") with { Vectors = Vectors.Finite },
        Of("typical_0.2", "--samplers", "typ_p", "--typical", "0.2") with { Vectors = Vectors.Finite },
        Of("typical_0.3_keep_8", "--samplers", "typ_p", "--typical", "0.3", "--min-keep", "8") with { Vectors = Vectors.Finite },
        Of("top_n_sigma_1", "--samplers", "top_n_sigma", "--top-nsigma", "1"),
        Of("top_n_sigma_0.3", "--samplers", "top_n_sigma", "--top-nsigma", "0.3"),
        Of("xtc_0.1", "--samplers", "xtc", "--xtc-probability", "1", "--xtc-threshold", "0.1"),
        Of("xtc_0.01", "--samplers", "xtc", "--xtc-probability", "1", "--xtc-threshold", "0.01"),
        Of("xtc_0.02_keep_40", "--samplers", "xtc", "--xtc-probability", "1", "--xtc-threshold", "0.02", "--min-keep", "40"),
        Of("xtc_never", "--samplers", "xtc", "--xtc-probability", "0", "--xtc-threshold", "0.1"),
        Of("temperature_0.8", "--samplers", "temperature", "--temp", "0.8"),
        Of("temperature_2.5", "--samplers", "temperature", "--temp", "2.5"),
        Of("temperature_0", "--samplers", "temperature", "--temp", "0"),
        Of("dynamic_temperature_0.5", "--samplers", "temperature", "--temp", "0.8", "--dynatemp-range", "0.5"),
        Of("dynamic_temperature_1_exponent_0.5", "--samplers", "temperature", "--temp", "1", "--dynatemp-range", "1", "--dynatemp-exp", "0.5"),
        Of("repeat_penalty_1.3", "--samplers", "penalties", "--repeat-penalty", "1.3"),
        Of("presence_and_frequency", "--samplers", "penalties", "--presence-penalty", "0.5", "--frequency-penalty", "0.2", "--repeat-last-n", "32"),
        Of("penalties_that_reward", "--samplers", "penalties", "--repeat-penalty", "0.9", "--frequency-penalty", "-0.1", "--repeat-last-n", "200"),
        Of("dry_without_breakers", "--samplers", "dry", "--dry-multiplier", "0.8", "--dry-sequence-breaker", "none"),
        Of("dry_with_breakers", "--samplers", "dry", "--dry-multiplier", "1.5", "--dry-allowed-length", "1", "--dry-penalty-last-n", "120",
            "--dry-sequence-breaker", Breaker(3), "--dry-sequence-breaker", Breaker(5, 7), "--dry-sequence-breaker", Breaker(5, 7, 2)),
        Of("dry_steep", "--samplers", "dry", "--dry-multiplier", "0.1", "--dry-base", "1.2", "--dry-allowed-length", "3", "--dry-penalty-last-n", "1000", "--dry-sequence-breaker", "none"),
        Of("logit_bias", "--samplers", "", "--logit-bias", "3+2.5", "--logit-bias", "31-4", "--logit-bias", "5-inf"),
        Of("mirostat_1", "--mirostat", "1") with { Vectors = Vectors.Steep, Steps = 3 },
        Of("mirostat_1_tau_3", "--mirostat", "1", "--mirostat-ent", "3", "--mirostat-lr", "0.5", "--temp", "1.2") with { Vectors = Vectors.Steep, Steps = 3 },
        Of("mirostat_2", "--mirostat", "2") with { Vectors = Vectors.Finite, Steps = 3 },
        Of("mirostat_2_tau_2", "--mirostat", "2", "--mirostat-ent", "2", "--mirostat-lr", "0.3", "--temp", "1") with { Vectors = Vectors.Finite, Steps = 3 },
        Of("default"),
        Of("default_greedy", "--temp", "0"),
        Of("default_all_on", "--repeat-penalty", "1.1", "--frequency-penalty", "0.05", "--dry-multiplier", "0.8", "--dry-sequence-breaker", Breaker(4), "--typical", "0.95",
            "--xtc-probability", "1", "--xtc-threshold", "0.2", "--dynatemp-range", "0.4", "--logit-bias", "1+0.5"),
        Of("other_order", "--samplers", "temperature;min_p;top_p;penalties;top_k", "--temp", "1.5", "--repeat-penalty", "1.2", "--top-k", "25"),
    ];

    public override string ToString() => Name;

    private static SamplerCase Of(string name, params string[] flags) => new(name, flags);

    private static string Breaker(params int[] tokens) => string.Concat(tokens.Select(token => (char)(FirstPiece + token)));
}
