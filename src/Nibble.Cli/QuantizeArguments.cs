using System.CommandLine;
using System.Globalization;
using System.Text.RegularExpressions;
using Nibble.Core.Formats;
using Nibble.Quantize.Calibration;
using Nibble.Quantize.Methods;
using Nibble.Quantize.Quantization;

namespace Nibble.Cli;

/// <summary>The options of <c>nibble quantize</c> that say what tensors become and how they are rounded.</summary>
internal sealed class QuantizeArguments
{
    private const int HqqGroup = 64;

    /// <summary>How often <c>--search best</c>, and every plan, go over codes and scales again.</summary>
    public const int BestRefineRounds = 4;

    private const string Static = "static", UsualRange = "mse";

    // Recipes of the largest models have a line of some 200 bytes for each of some 100 000 tensors.
    private const long MostRecipeBytes = 64 << 20;

    private readonly Option<string?> _type = new("--type") { Description = $"Type of the file: {string.Join(", ", FileType.All)}. Q3_K, Q4_K and Q5_K are the mixes M." };
    private readonly Option<string?> _method = new("--method") { Description = "How linear layers are rounded; gptq with --type into GGUF's blocks, else into an encoding of Nibble's own, which only Nibble reads: rtn (nearest integers), gptq (integers, each rounding error made up for by the weights after it; needs --text), awq (columns with large inputs scaled up, ranges clipped; needs --text), hqq (zeros that are fractions), smooth (8 bits a row, or a tensor with --group tensor, after channels of large inputs were made smaller; needs --text), nf4, fp4, int8 (LLM.int8; with --text the columns of large inputs stay in float16, without it none do)." };
    private readonly Option<int?> _bits = new("--bits") { Description = "Bits of the integers of --method: 3, 4 (the default) or 8." };
    private readonly Option<string?> _group = new("--group") { Description = "Columns that share a scale: 32, 64, 128 (the default; of hqq 64), or row for whole rows; with 8 bits tensor for whole matrices." };
    private readonly Option<bool> _asym = new("--asym") { Description = "A zero for each group beside its scale." };
    private readonly Option<string> _activations = new("--activations") { Description = "With a method that makes an encoding of Nibble's own: dynamic (activations are rounded at run time, as the device likes) or static (to 8 bits with one scale for each linear layer, found on --text and stored).", DefaultValueFactory = _ => "dynamic" };
    private readonly Option<string?> _range = new("--range") { Description = $"With --activations static, how the range of activations is found: {string.Join(", ", RangeEstimator.All.Select(one => one.Name))}; {UsualRange} where nothing is named." };
    private readonly Option<double?> _threshold = new("--threshold") { Description = $"With int8 and --text: columns stay in float16 in which an activation on the text reaches this magnitude; {Int8Target.UsualThreshold} where nothing is named." };
    private readonly Option<bool> _actOrder = new("--act-order") { Description = "With gptq: columns with the largest inputs first." };
    private readonly Option<bool> _double = new("--double") { Description = "With nf4 and fp4: the scales in 8 bits, too." };
    private readonly Option<bool> _pure = new("--pure") { Description = "Every weight in the type's own format; no mix." };
    private readonly Option<string[]> _tensor = new("--tensor")
    {
        Description = $"REGEX=TARGET: what tensors become in whose names the expression is found; may be repeated, the first that is found counts. Targets are GGUF's formats and {TensorTarget.Spellings}.",
    };

    private readonly Option<string?> _search = new("--search") { Description = "best: look longer. Blocks have less weighted error, and gptq goes over codes and scales again; the formats are the same." };

    private readonly Option<FileInfo?> _recipe = new("--recipe") { Description = "A recipe (JSON) that says what each tensor becomes and how, in place of --type and --method, or of --bpw and --size." };

    // What a plan decides.
    private IEnumerable<Option> Chosen => [_type, _method, _bits, _group, _asym, _activations, _range, _threshold, _actOrder, _double, _pure, _search];

    /// <summary>Adds the options to a command.</summary>
    public void AddTo(Command command)
    {
        _method.AcceptOnlyFromAmong("rtn", "gptq", "awq", "hqq", "smooth", "nf4", "fp4", "int8");
        _search.AcceptOnlyFromAmong("best");
        _activations.AcceptOnlyFromAmong("dynamic", Static);
        _range.AcceptOnlyFromAmong([.. RangeEstimator.All.Select(one => one.Name)]);
        command.Add(_type);
        command.Add(_method);
        command.Add(_bits);
        command.Add(_group);
        command.Add(_asym);
        command.Add(_activations);
        command.Add(_range);
        command.Add(_threshold);
        command.Add(_actOrder);
        command.Add(_double);
        command.Add(_tensor);
        command.Add(_pure);
        command.Add(_search);
        command.Add(_recipe);
    }

    /// <summary>The recipe's file, or null.</summary>
    /// <exception cref="UsageException">It is not there, or too large for a recipe.</exception>
    public FileInfo? RecipeFile(ParseResult parsed)
    {
        FileInfo? file = NamedFiles.Input(parsed.GetValue(_recipe), "--recipe");
        if (file?.Length > MostRecipeBytes) throw new UsageException($"'{file.FullName}' (--recipe) has {file.Length} bytes, and a recipe at most {MostRecipeBytes}; name the JSON file that --save-recipe wrote.");
        return file;
    }

    /// <summary>The recipe that was given, or null.</summary>
    /// <param name="parsed">The command line.</param>
    /// <exception cref="UsageException">Another option says what tensors become, too.</exception>
    public QuantizationRecipe? Recipe(ParseResult parsed)
    {
        if (parsed.GetValue(_recipe) is not { } file) return null;
        if (Chosen.Append(_tensor).FirstOrDefault(option => PlanArguments.IsGiven(parsed, option)) is { } other) throw new UsageException($"--recipe says what every tensor becomes; leave out {other.Name}.");
        return QuantizationRecipe.Read(file.FullName);
    }

    /// <summary>What the options ask for.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="hasImportance">Whether there is an importance matrix.</param>
    /// <param name="hasText">Whether there is a text to look at activations on.</param>
    /// <param name="threads">Threads; 0 for one a core.</param>
    /// <exception cref="UsageException">An option is wrong, or two of them exclude each other.</exception>
    public PlanOptions Read(ParseResult parsed, bool hasImportance, bool hasText, int threads)
    {
        string? typeName = parsed.GetValue(_type), method = parsed.GetValue(_method);
        FileType? type = typeName is null ? null : FileType.Find(typeName) ?? throw new UsageException($"'{typeName}' is no type of file (--type); use one of {string.Join(", ", FileType.All)}.");
        if (type is null && method is null) throw new UsageException("neither --type nor --method nor --recipe says what the weights become; --type Q4_K_M makes a file that llama.cpp reads, too.");
        if (type is null && parsed.GetValue(_pure)) throw new UsageException("--pure speaks of the mix of a --type; leave it out.");
        bool isBest = parsed.GetValue(_search) is not null;
        Refuse(parsed.GetValue(_actOrder) && method != "gptq", "--act-order", "only --method gptq has");
        bool hasBlocks = type is not null || (parsed.GetValue(_tensor) ?? []).Length > 0;
        Refuse(isBest && method != "gptq" && (!hasBlocks || method is "awq" or "hqq" or "smooth"), "--search best", "rounding to nearest into GGUF's blocks, and gptq, have");
        RoundingMethod rounding = method switch
        {
            "gptq" => new GptqRounding { IsSorted = parsed.GetValue(_actOrder), RefineRounds = isBest ? BestRefineRounds : 0, Threads = threads },
            "awq" => new AwqRounding(),
            "hqq" => new HqqRounding(),
            _ => new RoundToNearest { IsBest = isBest },
        };
        if (type is not null && method is not ("nf4" or "fp4" or "int8" or "smooth") && !rounding.Supports(type.Format)) throw new UsageException($"--method {method} cannot round into {type.Format} (--type {type}); leave out --type for integers with --bits and --group, or {(method == "gptq" ? "leave out --method" : "round to nearest without --method, or into most of GGUF's blocks by --method gptq")}.");
        return new PlanOptions
        {
            Type = type,
            Target = Target(parsed, type, method, hasText),
            Method = rounding,
            Transform = method is "awq" or "smooth" ? RoundingMethods.FindTransform(method) : null,
            IsPure = parsed.GetValue(_pure),
            HasImportance = hasImportance,
            Overrides = Overrides(parsed),
        };
    }

    /// <summary>Targets of single tensors.</summary>
    /// <exception cref="UsageException">One is wrong.</exception>
    public IReadOnlyList<(Regex Pattern, TensorTarget Target)> Overrides(ParseResult parsed) => [.. (parsed.GetValue(_tensor) ?? []).Select(Override)];

    /// <summary>Checks that nothing says what the planner chooses.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="isRecipe">Whether a recipe says it all.</param>
    /// <exception cref="UsageException">An option does.</exception>
    public void CheckPlanned(ParseResult parsed, bool isRecipe)
    {
        Option? given = Chosen.FirstOrDefault(option => PlanArguments.IsGiven(parsed, option));
        if (given is null && isRecipe && PlanArguments.IsGiven(parsed, _tensor)) given = _tensor;
        if (given is not null) throw new UsageException($"{given.Name} says what {(isRecipe ? "the recipe (--recipe) says" : "--bpw and --size choose themselves")}; leave it out.");
        if (Overrides(parsed).FirstOrDefault(one => one.Target is EncodingTarget { InputRange: not null } or Int8Target { Threshold: not null }).Target is { } seeks)
            throw new UsageException($"'{seeks}' (--tensor) follows from activations in a way that --bpw and --size do not look at them; name a target without a static range or a threshold, or use --method.");
    }

    private TensorTarget? Target(ParseResult parsed, FileType? type, string? method, bool hasText)
    {
        bool isInteger = type is null && method is "rtn" or "gptq" or "awq" or "hqq" or "smooth", isTable = type is null && method is "nf4" or "fp4";
        Refuse(parsed.GetValue(_bits) is not null && !isInteger, "--bits", "only integers (--method rtn, gptq, awq, hqq or smooth without --type) have");
        Refuse(parsed.GetValue(_group) is not null && !isInteger, "--group", "only integers (--method rtn, gptq, awq, hqq or smooth without --type) have");
        Refuse(parsed.GetValue(_asym) && (!isInteger || method == "hqq"), "--asym", "only integers of --method rtn, gptq, awq and smooth without --type have");
        Refuse(parsed.GetValue(_double) && !isTable, "--double", "only --method nf4 and fp4 have");
        if (type is not null && method is "nf4" or "fp4" or "int8" or "smooth") throw new UsageException($"--type {type} and --method {method} name two formats; leave one out.");
        bool isStatic = parsed.GetValue(_activations) == Static;
        Refuse(isStatic && type is not null, "--activations static", "only an encoding of Nibble's own (--method without --type) has");
        if (parsed.GetValue(_range) is not null && !isStatic) throw new UsageException("--range says how a static range of activations is found; add --activations static, or leave it out.");
        Refuse(parsed.GetValue(_threshold) is not null && method != "int8", "--threshold", "only --method int8 has");
        if (parsed.GetValue(_threshold) is { } threshold)
        {
            if (!Int8Target.IsThreshold(threshold)) throw new UsageException(string.Create(CultureInfo.InvariantCulture, $"--threshold is {threshold}; a number above 0 is needed."));
            if (isStatic) throw new UsageException("--threshold keeps columns apart whose activations are not rounded, and --activations static rounds all; leave out one.");
        }

        if (type is not null) return null;
        return Encoding(parsed, method, hasText && !isStatic) with { InputRange = isStatic ? parsed.GetValue(_range) ?? UsualRange : null };
    }

    private EncodingTarget Encoding(ParseResult parsed, string? method, bool isApart) => method switch
    {
        "nf4" or "fp4" => new TableTarget(method) { IsDouble = parsed.GetValue(_double) },
        "int8" => new Int8Target { Threshold = parsed.GetValue(_threshold) ?? (isApart ? Int8Target.UsualThreshold : null) },
        "smooth" => new GroupTarget(Bits(parsed, 8), Group(parsed, 0)) { Zero = parsed.GetValue(_asym) ? GroupZero.Integer : GroupZero.Middle },
        "hqq" => new GroupTarget(Bits(parsed), Group(parsed, HqqGroup)) { Zero = GroupZero.Float },
        _ => new GroupTarget(Bits(parsed), Group(parsed, GroupTarget.UsualGroup)) { Zero = parsed.GetValue(_asym) ? GroupZero.Integer : GroupZero.Middle },
    };

    private static void Refuse(bool isWrong, string option, string reason)
    {
        if (isWrong) throw new UsageException($"{option} is what {reason}; leave it out, or choose another method.");
    }

    private int Bits(ParseResult parsed, int usual = 4) => parsed.GetValue(_bits) switch
    {
        null => usual,
        int bits and (3 or 4 or 8) => bits,
        int other => throw new UsageException($"--bits is {other}; 3, 4 and 8 are possible."),
    };

    private int Group(ParseResult parsed, int usual) => parsed.GetValue(_group) switch
    {
        null => usual,
        "row" or "-1" => 0,
        "tensor" when (parsed.GetValue(_method), parsed.GetValue(_bits)) is ("rtn", 8) or ("smooth", 8 or null) => GroupTarget.WholeTensor,
        string text when int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int group) && group > 0 => group,
        string other => throw new UsageException($"--group is '{other}'; it is a number of columns, such as 64, or row, or with 8 bits of rtn and smooth tensor."),
    };

    private static (Regex Pattern, TensorTarget Target) Override(string text)
    {
        int equals = text.LastIndexOf('=');
        if (equals <= 0) throw new UsageException($"'{text}' is no expression and format (--tensor); write REGEX=FORMAT, such as ffn_down=Q6_K.");
        TensorTarget target = TensorTarget.Find(text[(equals + 1)..])
            ?? throw new UsageException($"'{text[(equals + 1)..]}' is no format of weights (--tensor); use one of {string.Join(", ", BlockFormats.All)}, {TensorTarget.Spellings}.");
        try
        {
            return (new Regex(text[..equals], RegexOptions.CultureInvariant | RegexOptions.NonBacktracking), target);
        }
        catch (Exception error) when (error is ArgumentException or NotSupportedException)
        {
            throw new UsageException($"'{text[..equals]}' is no regular expression that can be used (--tensor): {error.Message}");
        }
    }
}
