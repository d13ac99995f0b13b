using Nibble.Core.Gguf;
using Nibble.Llm.Sampling;

namespace Nibble.Llm.Tests.Sampling;

public class SamplerTableTests
{
    public static TheoryData<string, string> BadValues => new()
    {
        { "--temp", "nan" }, { "--temp", "warm" }, { "--temp", "Infinity" },
        { "--dynatemp-range", "-0.1" }, { "--dynatemp-exp", "-1" },
        { "--top-k", "-2" }, { "--top-k", "1.5" }, { "--top-k", "99999999999" },
        { "--top-p", "1.01" }, { "--top-p", "-0.01" }, { "--min-p", "1.5" }, { "--typical", "2" }, { "--top-nsigma", "-3" },
        { "--xtc-probability", "1.1" }, { "--xtc-threshold", "-1" },
        { "--dry-multiplier", "-1" }, { "--dry-base", "0.9" }, { "--dry-allowed-length", "-1" }, { "--dry-penalty-last-n", "-1" }, { "--dry-penalty-last-n", "1048577" },
        { "--dry-sequence-breaker", "" }, { "--dry-sequence-breaker", "01234567890123456789012345678901234567890" }, { "--dry-sequence-breaker", @"\q" },
        { "--repeat-penalty", "0" }, { "--repeat-penalty", "-1" }, { "--repeat-last-n", "-1" }, { "--repeat-last-n", "1048577" },
        { "--presence-penalty", "NaN" }, { "--frequency-penalty", "Infinity" },
        { "--mirostat", "3" }, { "--mirostat", "-1" }, { "--mirostat-lr", "-1" }, { "--mirostat-ent", "-1" },
        { "--logit-bias", "5" }, { "--logit-bias", "+1" }, { "--logit-bias", "5+inf" }, { "--logit-bias", "5+x" }, { "--logit-bias", "-5+1" },
        { "--seed", "-2" }, { "--seed", "4294967296" }, { "--seed", "x" }, { "--min-keep", "-1" },
        { "--samplers", "top_k;best" }, { "--samplers", "mirostat" }, { "--sampler-seq", "kz" },
    };

    [Theory]
    [MemberData(nameof(BadValues))]
    public void A_bad_value_is_refused_with_flag_value_and_what_to_give(string flag, string text)
    {
        SamplingOptions options = new();
        SamplingParameter parameter = Parameter(flag);
        string before = parameter.Format(options);
        ArgumentException e = Assert.ThrowsAny<ArgumentException>(() => parameter.Parse(options, text));
        Assert.StartsWith($"{flag} is '{text}'; ", e.Message, StringComparison.Ordinal);
        Assert.Equal(before, parameter.Format(options));
    }

    [Fact]
    public void Every_flag_has_a_value_that_is_refused_in_these_tests() =>
        Assert.Empty(Samplers.Parameters.Select(parameter => parameter.Flag).Except(BadValues.Select(row => row.Data.Item1)));

    [Fact]
    public void A_property_out_of_range_is_refused_by_the_chain_with_its_flag()
    {
        ArgumentException e = Assert.ThrowsAny<ArgumentException>(() => new SamplerChain(new SamplingOptions { TopP = 1.5f }, 10));
        Assert.Contains("--top-p is 1.5; it must be a number from 0 to 1.", e.Message, StringComparison.Ordinal);
        Assert.ThrowsAny<ArgumentException>(() => new SamplerChain(new SamplingOptions { LogitBias = [new LogitBias(10, 1)] }, 10));
        Assert.ThrowsAny<ArgumentException>(() => new SamplerChain(new SamplingOptions { Sequence = [MirostatSampler.Description] }, 10));
    }

    [Fact]
    public void Defaults_are_llama_cpps() => Assert.Equal(
        "--samplers penalties;dry;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;temperature | --sampler-seq edskypmxt | --seed -1 | --min-keep 0 | --logit-bias  | "
        + "--repeat-last-n 64 | --repeat-penalty 1 | --presence-penalty 0 | --frequency-penalty 0 | "
        + @"--dry-multiplier 0 | --dry-base 1.75 | --dry-allowed-length 2 | --dry-penalty-last-n 64 | --dry-sequence-breaker \n : "" * | "
        + "--top-nsigma -1 | --top-k 40 | --typical 1 | --top-p 0.95 | --min-p 0.05 | --xtc-probability 0 | --xtc-threshold 0.1 | "
        + "--temp 0.8 | --dynatemp-range 0 | --dynatemp-exp 1 | --mirostat 0 | --mirostat-lr 0.1 | --mirostat-ent 5",
        string.Join(" | ", Samplers.Parameters.Select(parameter => $"{parameter.Flag} {parameter.DefaultText}")));

    [Fact]
    public void Flags_and_letters_are_distinct()
    {
        string[] flags = [.. Samplers.Parameters.SelectMany(parameter => parameter.Aliases.Prepend(parameter.Flag))];
        Assert.Equal(flags.Length, flags.Distinct().Count());
        Assert.Equal(Samplers.DefaultSequence.Count, Samplers.DefaultSequence.Select(row => row.Letter).Distinct().Count());
        Assert.All(Samplers.Parameters, parameter => Assert.True(parameter.Help.Length is > 5 and < 120 && !parameter.Help.Contains('\n')));
    }

    [Theory]
    [InlineData("top-k;TOPP;nucleus;min_p", "top_k;top_p;top_p;min_p")]
    [InlineData(" temp ; typ;typical", "temperature;typ_p;typ_p")]
    [InlineData("topnsigma;top-n-sigma;", "top_n_sigma;top_n_sigma")]
    [InlineData("", "")]
    public void A_sequence_is_read_by_name_and_alias(string text, string names) => Assert.Equal(names, Samplers.FormatSequence(Samplers.ParseSequence(text)));

    [Fact]
    public void An_unknown_sampler_is_named_and_the_known_are_listed()
    {
        ArgumentException e = Assert.ThrowsAny<ArgumentException>(() => Parameter("--samplers").Parse(new SamplingOptions(), "top_k;best"));
        Assert.Contains("there is no sampler 'best'; use some of penalties;dry;", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Repeatable_flags_add_up_and_the_first_breaker_replaces_the_defaults()
    {
        SamplingOptions options = new();
        Parameter("--logit-bias").Parse(options, "7+1.5");
        Parameter("--logit-bias").Parse(options, "8-inf");
        Assert.Equal([new LogitBias(7, 1.5f), new LogitBias(8, float.NegativeInfinity)], options.LogitBias);
        Parameter("--dry-sequence-breaker").Parse(options, @"\n\\");
        Parameter("--dry-sequence-breaker").Parse(options, "--");
        Assert.Equal(["\n\\", "--"], options.DrySequenceBreakers);
        Parameter("--dry-sequence-breaker").Parse(options, "none");
        Assert.Empty(options.DrySequenceBreakers);
    }

    [Fact]
    public void Every_value_written_reads_back()
    {
        SamplingOptions options = new();
        foreach ((string flag, string text) in new[] { ("--temp", "0.35"), ("--logit-bias", "7+1.5"), ("--dry-sequence-breaker", @"\n"), ("--samplers", "top_p;top_k"), ("--seed", "42"), ("--repeat-penalty", "1.1") })
        {
            Parameter(flag).Parse(options, text);
            Assert.Equal(text, Parameter(flag).Format(options));
        }
    }

    [Fact]
    public void The_model_files_defaults_replace_llama_cpps_and_chosen_values_beat_them()
    {
        GgufBuilder file = new GgufBuilder()
            .Text("general.sampling.sequence", "top_k;temperature"u8)
            .UInt32("general.sampling.top_k", 20).Float32("general.sampling.top_p", 0.8f).Float32("general.sampling.min_p", 0.01f)
            .Float32("general.sampling.xtc_probability", 0.5f).Float32("general.sampling.xtc_threshold", 0.2f)
            .Float32("general.sampling.temp", 0.6f).UInt32("general.sampling.penalty_last_n", 128).Float32("general.sampling.penalty_repeat", 1.05f)
            .UInt32("general.sampling.mirostat", 2).Float32("general.sampling.mirostat_tau", 4).UInt32("general.sampling.mirostat_eta", 1);
        SamplingOptions options = new() { TopP = 0.7f };
        Parameter("--temp").Parse(options, "0.8");
        Apply(options, file);
        Assert.Equal("top_k;temperature", Samplers.FormatSequence(options.Sequence));
        Assert.Equal((20, 0.7f, 0.01f, 0.5f, 0.2f, 0.8f), (options.TopK, options.TopP, options.MinP, options.XtcProbability, options.XtcThreshold, options.Temperature));
        Assert.Equal((128, 1.05f, 2, 4f, 1f), (options.RepeatLastN, options.RepeatPenalty, options.Mirostat, options.MirostatEntropy, options.MirostatLearningRate));
        Assert.Equal(12, Samplers.Parameters.Count(parameter => parameter.MetadataKey is not null));

        SamplingOptions copy = options.Clone();
        copy.Temperature = 2;
        Assert.Equal((0.8f, 2f, 20), (options.Temperature, copy.Temperature, copy.TopK));
    }

    [Fact]
    public void A_bad_default_of_a_model_file_is_refused_by_name_until_a_flag_replaces_it()
    {
        GgufBuilder file = new GgufBuilder().Float32("general.sampling.top_p", 1.5f);
        GgufException e = Assert.Throws<GgufException>(() => Apply(new SamplingOptions(), file));
        Assert.Contains("general.sampling.top_p", e.Message, StringComparison.Ordinal);
        Assert.Contains("is 1.5; it must be a number from 0 to 1. Give --top-p", e.Message, StringComparison.Ordinal);
        Apply(new SamplingOptions { TopP = 0.5f }, file);
        Assert.Throws<GgufException>(() => Apply(new SamplingOptions(), new GgufBuilder().Text("general.sampling.sequence", "top_k;best"u8)));
        Assert.Throws<GgufException>(() => Apply(new SamplingOptions(), new GgufBuilder().Float32("general.sampling.top_k", 3)));
        Assert.Throws<GgufException>(() => Apply(new SamplingOptions(), new GgufBuilder().UInt32("general.sampling.penalty_last_n", int.MaxValue)));
    }

    private static void Apply(SamplingOptions options, GgufBuilder file)
    {
        using TempFolder folder = new();
        using GgufFile gguf = GgufFile.Open(folder.Write("a.gguf", file.Build()));
        options.Apply(gguf.Metadata);
    }

    private static SamplingParameter Parameter(string flag) => Samplers.Parameters.Single(parameter => parameter.Flag == flag);
}
