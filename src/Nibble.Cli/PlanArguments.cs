using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using Nibble.Quantize.Planning;

namespace Nibble.Cli;

/// <summary>The options of <c>nibble quantize</c> that say how large a file may become, and by which recipe.</summary>
internal sealed class PlanArguments
{
    private readonly Option<double?> _bits = new("--bpw")
    {
        Description = "Bits that a weight may take on average: GGUF's formats are mixed so that the file differs as little as possible from the model on --text. Every tensor is rounded by GPTQ with what its errors cost.",
        CustomParser = Number,
    };

    private readonly Option<string?> _size = new("--size") { Description = "The same for a size of the whole file: 3GiB, 3.2GB, 650MiB, or bytes." };
    private readonly Option<ulong> _seed = new("--seed") { Description = "With --bpw and --size: seed of the random signs by which the model shows what errors cost.", DefaultValueFactory = _ => 0 };

    private readonly Option<string?> _sensitivity = new("--sensitivity")
    {
        Description = $"With --bpw and --size: {Estimated} by a backward pass (for decoders of parts whose gradients are known), or {Measured} as the KL divergence with one tensor changed at a time (any model, slower). Left out: the first that can be done.",
    };

    /// <summary>What errors cost is estimated by gradients.</summary>
    public const string Estimated = "estimated";

    /// <summary>What errors cost is measured tensor by tensor.</summary>
    public const string Measured = "measured";

    /// <summary>Adds the options to a command.</summary>
    public void AddTo(Command command)
    {
        command.Add(_bits);
        command.Add(_size);
        command.Add(_seed);
        _sensitivity.AcceptOnlyFromAmong(Estimated, Measured);
        command.Add(_sensitivity);
    }

    /// <summary>Whether a file is to be planned, or made by the recipe of a plan.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="recipe">The recipe's file, or null.</param>
    public bool IsAsked(ParseResult parsed, FileInfo? recipe) =>
        parsed.GetValue(_bits) is not null || parsed.GetValue(_size) is not null || (recipe is { Exists: true } && PlanRecipe.IsOne(File.ReadAllText(recipe.FullName)));

    /// <summary>The seed.</summary>
    public ulong Seed(ParseResult parsed) => parsed.GetValue(_seed);

    /// <summary>How it is learned what errors cost, <see cref="Estimated"/> or <see cref="Measured"/>; null where that is left open.</summary>
    public string? Sensitivity(ParseResult parsed) => parsed.GetValue(_sensitivity);

    /// <summary>How large the file may become, or null by a recipe.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="recipe">The recipe's file, or null.</param>
    /// <exception cref="UsageException">An option is wrong, or two of them exclude each other.</exception>
    public SizeBudget? Budget(ParseResult parsed, FileInfo? recipe)
    {
        double? bits = parsed.GetValue(_bits);
        string? size = parsed.GetValue(_size);
        if ((bits is null ? 0 : 1) + (size is null ? 0 : 1) + (recipe is null ? 0 : 1) > 1) throw new UsageException("--bpw, --size and --recipe each say what becomes of all tensors; give one of them.");
        if (recipe is not null && IsGiven(parsed, _seed)) throw new UsageException("the seed stands in the recipe; leave out --seed.");
        if (recipe is not null && IsGiven(parsed, _sensitivity)) throw new UsageException("how it was learned what errors cost stands in the recipe; leave out --sensitivity.");
        if (Sensitivity(parsed) == Measured && IsGiven(parsed, _seed)) throw new UsageException("nothing is random where what errors cost is measured; leave out --seed.");
        try
        {
            return bits is { } value ? SizeBudget.OfBits(value) : size is null ? null : SizeBudget.ParseSize(size);
        }
        catch (ArgumentOutOfRangeException error)
        {
            throw new UsageException($"--bpw: {error.Message.Split(" (Parameter", 2)[0]}");
        }
        catch (FormatException error)
        {
            throw new UsageException($"--size: {error.Message}");
        }
    }

    /// <summary>Checks that nothing of a plan is asked for where there is none.</summary>
    /// <exception cref="UsageException">A seed or a sensitivity is given.</exception>
    public void CheckUnplanned(ParseResult parsed)
    {
        if (IsGiven(parsed, _seed)) throw new UsageException("--seed is what only --bpw and --size have; leave it out.");
        if (IsGiven(parsed, _sensitivity)) throw new UsageException("--sensitivity is what only --bpw and --size have; leave it out.");
    }

    /// <summary>Whether an option stands on the command line.</summary>
    public static bool IsGiven(ParseResult parsed, Option option) => parsed.GetResult(option) is { Implicit: false };

    private static double? Number(ArgumentResult result)
    {
        if (double.TryParse(result.Tokens.Single().Value, NumberStyles.Float, CultureInfo.InvariantCulture, out double value)) return value;
        result.AddError($"'{result.Tokens.Single().Value}' is no number of bits (--bpw); write one such as 4.5.");
        return null;
    }
}
