using Nibble.Core.Gguf;

namespace Nibble.Llm.Sampling;

/// <summary>How tokens are drawn. A new object holds llama.cpp v0.5.0's defaults; a model file's <c>general.sampling.*</c> may replace them; what is set here, or by a flag, beats both.</summary>
/// <remarks>Values are checked by <see cref="Validate"/>, which every <see cref="SamplerChain"/> calls; the ranges are in <see cref="Samplers.Parameters"/>.</remarks>
public sealed class SamplingOptions
{
    internal readonly Setting<IReadOnlyList<SamplerDescription>> SequenceSetting = new(Samplers.DefaultSequence);
    internal readonly Setting<long> SeedSetting = new(-1);
    internal readonly Setting<int> MinKeepSetting = new(0);
    internal readonly Setting<IReadOnlyList<LogitBias>> LogitBiasSetting = new([]);
    internal readonly Setting<int> RepeatLastNSetting = new(64);
    internal readonly Setting<float> RepeatPenaltySetting = new(1);
    internal readonly Setting<float> FrequencyPenaltySetting = new(0);
    internal readonly Setting<float> PresencePenaltySetting = new(0);
    internal readonly Setting<float> DryMultiplierSetting = new(0);
    internal readonly Setting<float> DryBaseSetting = new(1.75f);
    internal readonly Setting<int> DryAllowedLengthSetting = new(2);
    internal readonly Setting<int> DryPenaltyLastNSetting = new(64);
    internal readonly Setting<IReadOnlyList<string>> DrySequenceBreakersSetting = new(["\n", ":", "\"", "*"]);
    internal readonly Setting<float> TopNSigmaSetting = new(-1);
    internal readonly Setting<int> TopKSetting = new(40);
    internal readonly Setting<float> TypicalPSetting = new(1);
    internal readonly Setting<float> TopPSetting = new(0.95f);
    internal readonly Setting<float> MinPSetting = new(0.05f);
    internal readonly Setting<float> XtcProbabilitySetting = new(0);
    internal readonly Setting<float> XtcThresholdSetting = new(0.1f);
    internal readonly Setting<float> TemperatureSetting = new(0.8f);
    internal readonly Setting<float> DynamicTemperatureRangeSetting = new(0);
    internal readonly Setting<float> DynamicTemperatureExponentSetting = new(1);
    internal readonly Setting<int> MirostatSetting = new(0);
    internal readonly Setting<float> MirostatLearningRateSetting = new(0.1f);
    internal readonly Setting<float> MirostatEntropySetting = new(5);

    /// <summary>The samplers between logit bias and draw, in order; default <see cref="Samplers.DefaultSequence"/>.</summary>
    public IReadOnlyList<SamplerDescription> Sequence { get => SequenceSetting.Value; set => SequenceSetting.Choose(value); }

    /// <summary>The random seed, 0 to 2^32 - 1; -1, the default, takes one from the system for each chain.</summary>
    public long Seed { get => SeedSetting.Value; set => SeedSetting.Choose(value); }

    /// <summary>How many candidates top-p, min-p, typical-p and XTC leave at least; default 0, where they still leave one.</summary>
    public int MinKeep { get => MinKeepSetting.Value; set => MinKeepSetting.Choose(value); }

    /// <summary>What is added to logits before all samplers; default nothing.</summary>
    public IReadOnlyList<LogitBias> LogitBias { get => LogitBiasSetting.Value; set => LogitBiasSetting.Choose(value); }

    /// <summary>How many of the last tokens the repetition, presence and frequency penalties look at; default 64, 0 switches them off.</summary>
    public int RepeatLastN { get => RepeatLastNSetting.Value; set => RepeatLastNSetting.Choose(value); }

    /// <summary>Divides positive and multiplies negative logits of tokens in the text; default 1, which is off.</summary>
    public float RepeatPenalty { get => RepeatPenaltySetting.Value; set => RepeatPenaltySetting.Choose(value); }

    /// <summary>Subtracted from a token's logit for each time it stands in the text; default 0.</summary>
    public float FrequencyPenalty { get => FrequencyPenaltySetting.Value; set => FrequencyPenaltySetting.Choose(value); }

    /// <summary>Subtracted from a token's logit when it stands in the text; default 0.</summary>
    public float PresencePenalty { get => PresencePenaltySetting.Value; set => PresencePenaltySetting.Choose(value); }

    /// <summary>The strength of DRY; default 0, which is off.</summary>
    public float DryMultiplier { get => DryMultiplierSetting.Value; set => DryMultiplierSetting.Choose(value); }

    /// <summary>The base that DRY raises to the length of a repetition beyond the allowed; default 1.75.</summary>
    public float DryBase { get => DryBaseSetting.Value; set => DryBaseSetting.Choose(value); }

    /// <summary>The length of repetition that DRY starts to penalize, in tokens; default 2.</summary>
    public int DryAllowedLength { get => DryAllowedLengthSetting.Value; set => DryAllowedLengthSetting.Choose(value); }

    /// <summary>How many of the last tokens DRY looks at; default 64, 0 switches it off.</summary>
    public int DryPenaltyLastN { get => DryPenaltyLastNSetting.Value; set => DryPenaltyLastNSetting.Choose(value); }

    /// <summary>Texts over which DRY sees no repetition; default newline, colon, double quote and asterisk.</summary>
    public IReadOnlyList<string> DrySequenceBreakers { get => DrySequenceBreakersSetting.Value; set => DrySequenceBreakersSetting.Choose(value); }

    /// <summary>Keeps tokens within this many standard deviations of the highest logit; default -1; 0 or below is off.</summary>
    public float TopNSigma { get => TopNSigmaSetting.Value; set => TopNSigmaSetting.Choose(value); }

    /// <summary>Keeps this many tokens of highest logit; default 40; 0 or -1 is off.</summary>
    public int TopK { get => TopKSetting.Value; set => TopKSetting.Choose(value); }

    /// <summary>Keeps the most typical tokens whose probabilities together exceed this; default 1, which is off.</summary>
    public float TypicalP { get => TypicalPSetting.Value; set => TypicalPSetting.Choose(value); }

    /// <summary>Keeps the most probable tokens whose probabilities together reach this; default 0.95; 1 is off.</summary>
    public float TopP { get => TopPSetting.Value; set => TopPSetting.Choose(value); }

    /// <summary>Keeps tokens at least this fraction as probable as the most probable; default 0.05; 0 is off.</summary>
    public float MinP { get => MinPSetting.Value; set => MinPSetting.Choose(value); }

    /// <summary>The chance that XTC acts on a token; default 0, which is off.</summary>
    public float XtcProbability { get => XtcProbabilitySetting.Value; set => XtcProbabilitySetting.Choose(value); }

    /// <summary>The probability from which XTC counts a token as a top choice; default 0.1; above 0.5 is off.</summary>
    public float XtcThreshold { get => XtcThresholdSetting.Value; set => XtcThresholdSetting.Choose(value); }

    /// <summary>What logits are divided by; default 0.8; 0 or below takes the first token of highest logit.</summary>
    public float Temperature { get => TemperatureSetting.Value; set => TemperatureSetting.Choose(value); }

    /// <summary>How far below and above <see cref="Temperature"/> entropy may move it; default 0, which is off.</summary>
    public float DynamicTemperatureRange { get => DynamicTemperatureRangeSetting.Value; set => DynamicTemperatureRangeSetting.Choose(value); }

    /// <summary>The power of normalized entropy that sets the dynamic temperature; default 1.</summary>
    public float DynamicTemperatureExponent { get => DynamicTemperatureExponentSetting.Value; set => DynamicTemperatureExponentSetting.Choose(value); }

    /// <summary>Mirostat's version, 1 or 2; default 0, which is off. With it, of the sequence only the temperature is used.</summary>
    public int Mirostat { get => MirostatSetting.Value; set => MirostatSetting.Choose(value); }

    /// <summary>Mirostat's learning rate, eta; default 0.1.</summary>
    public float MirostatLearningRate { get => MirostatLearningRateSetting.Value; set => MirostatLearningRateSetting.Choose(value); }

    /// <summary>Mirostat's target entropy, tau, in bits; default 5.</summary>
    public float MirostatEntropy { get => MirostatEntropySetting.Value; set => MirostatEntropySetting.Choose(value); }

    /// <summary>Takes the defaults that a model file sets with <c>general.sampling.*</c>; values that were chosen stay.</summary>
    /// <exception cref="GgufException">A value of the file is of a wrong type, out of range, or names an unknown sampler.</exception>
    public void Apply(GgufMetadata metadata)
    {
        ArgumentNullException.ThrowIfNull(metadata);
        foreach (SamplingParameter parameter in Samplers.Parameters) parameter.Apply(this, metadata);
    }

    /// <summary>Checks every value's range.</summary>
    /// <exception cref="ArgumentException">A value is out of range; the message names its flag, the value and the bound.</exception>
    public void Validate()
    {
        foreach (SamplingParameter parameter in Samplers.Parameters) parameter.Validate(this);
    }

    /// <summary>A copy that can be changed apart from this one; it remembers which values were chosen and which are defaults.</summary>
    public SamplingOptions Clone()
    {
        SamplingOptions copy = new();
        foreach (SamplingParameter parameter in Samplers.Parameters) parameter.Copy(this, copy);
        return copy;
    }
}
