using System.CommandLine;
using Nibble.Llm.Generation;
using Nibble.Llm.Sampling;

namespace Nibble.Cli;

/// <summary>The options of every command that generates, made from the table of samplers.</summary>
internal sealed class SamplerArguments
{
    private readonly List<(SamplingParameter Parameter, Func<ParseResult, string[]> Values)> _options = [];

    private readonly Option<int?> _count = new("--predict", "-n", "--n-predict") { Description = "Tokens to generate at most; -1, or without it, until the model ends its turn." };
    private readonly Option<string[]> _stop = new("--stop") { Description = "A text that ends the answer; may be given more than once.", };
    private readonly Option<bool> _shift = new("--context-shift") { Description = "When the context is full, drop the oldest and go on." };

    /// <summary>Adds the options to a command.</summary>
    public void AddTo(Command command)
    {
        _count.Validators.Add(result => ModelArguments.CheckRange(result, -1, int.MaxValue));
        command.Add(_count);
        command.Add(_stop);
        command.Add(_shift);
        foreach (SamplingParameter parameter in Samplers.Parameters)
        {
            if (parameter.IsRepeatable)
            {
                Option<string[]> option = new(parameter.Flag, [.. parameter.Aliases]) { Description = Describe(parameter), HelpName = parameter.ValueName };
                _options.Add((parameter, parsed => parsed.GetValue(option) ?? []));
                command.Add(option);
            }
            else
            {
                Option<string?> option = new(parameter.Flag, [.. parameter.Aliases]) { Description = Describe(parameter), HelpName = parameter.ValueName };
                _options.Add((parameter, parsed => parsed.GetValue(option) is { } value ? [value] : []));
                command.Add(option);
            }
        }
    }

    /// <summary>The sampling that the options ask for.</summary>
    /// <exception cref="UsageException">A value is not one, or out of range.</exception>
    public SamplingOptions Sampling(ParseResult parsed)
    {
        SamplingOptions options = new();
        foreach ((SamplingParameter parameter, Func<ParseResult, string[]> values) in _options)
        {
            foreach (string value in values(parsed))
            {
                try
                {
                    parameter.Parse(options, value);
                }
                catch (ArgumentException error)
                {
                    throw new UsageException(error.Message);
                }
            }
        }

        return options;
    }

    private static string Describe(SamplingParameter parameter) =>
        $"{char.ToUpperInvariant(parameter.Help[0])}{parameter.Help[1..]} (default {(parameter.DefaultText.Length == 0 ? "none" : parameter.DefaultText)}).";

    /// <summary>When generation ends.</summary>
    public GenerationOptions Generation(ParseResult parsed)
    {
        string[] stops = parsed.GetValue(_stop) ?? [];
        if (stops.Contains(string.Empty)) throw new UsageException("--stop is empty; it would end every answer at once.");
        return new GenerationOptions { MaxTokens = parsed.GetValue(_count) is >= 0 and var count ? count : null, StopStrings = stops };
    }

    /// <summary>Whether a full context drops its oldest part.</summary>
    public bool ContextShift(ParseResult parsed) => parsed.GetValue(_shift);
}
