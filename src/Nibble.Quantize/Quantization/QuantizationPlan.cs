using System.Collections.Immutable;
using System.Text.RegularExpressions;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Quantize.Calibration;
using Nibble.Quantize.Methods;

namespace Nibble.Quantize.Quantization;

/// <summary>What every tensor of a new file becomes, and how.</summary>
public sealed class QuantizationPlan
{
    // Below 256 values a block there is a format of nearly the same bits with blocks of 32.
    private static readonly Dictionary<BlockFormat, BlockFormat> s_fallbacks = new()
    {
        [BlockFormats.IQ4_XS] = BlockFormats.IQ4_NL,
        [BlockFormats.Q2_K] = BlockFormats.Q4_0,
        [BlockFormats.Q3_K] = BlockFormats.Q4_0,
        [BlockFormats.TQ1_0] = BlockFormats.Q4_0,
        [BlockFormats.TQ2_0] = BlockFormats.Q4_0,
        [BlockFormats.Q4_K] = BlockFormats.Q5_0,
        [BlockFormats.Q5_K] = BlockFormats.Q5_1,
        [BlockFormats.Q6_K] = BlockFormats.Q8_0,
        [BlockFormats.NVFP4] = BlockFormats.MXFP4,
    };

    private static readonly RoundToNearest s_nearest = new();
    private static readonly HqqRounding s_fractions = new();

    private QuantizationPlan(FileType? type, ImmutableArray<PlannedTensor> tensors)
    {
        Type = type;
        Tensors = tensors;
    }

    /// <summary>The type that was asked for; null where the file is of none.</summary>
    public FileType? Type { get; }

    /// <summary>What is done to the layers' floats before they are rounded, or null.</summary>
    public LayerTransform? Transform { get; init; }

    /// <summary>Every tensor in the order of the new file, which is llama-quantize's: those outside layers, then layer by layer, by name.</summary>
    public ImmutableArray<PlannedTensor> Tensors { get; }

    /// <summary>Bytes of all tensors in the new file.</summary>
    public long ByteLength => Tensors.Sum(tensor => tensor.ByteLength);

    /// <summary>Values of all tensors.</summary>
    public long ValueCount => Tensors.Sum(tensor => tensor.ValueCount);

    /// <summary>Bits that a value takes on average.</summary>
    public double BitsPerWeight => 8.0 * ByteLength / ValueCount;

    /// <summary>Whether ranges of activations are stored for some tensors.</summary>
    public bool IsStatic => Tensors.Any(tensor => tensor.Target is EncodingTarget { InputRange: not null });

    /// <summary>Whether <see cref="OutlierSearch"/> has to look at activations before anything can be made.</summary>
    public bool SeeksOutliers => Tensors.Any(tensor => tensor.SeeksOutliers);

    /// <summary>What statistics of activations methods and ranges ask for; null where none do. What <see cref="OutlierSearch"/> needs does not count.</summary>
    public StatisticKinds? Needs
    {
        get
        {
            StatisticKinds? needs = Transform?.Needs;
            foreach (PlannedTensor tensor in Tensors)
            {
                if (!tensor.IsKept && tensor.Method.Needs is { } kinds) needs = (needs ?? kinds) | kinds;
                if (tensor.Target is EncodingTarget { InputRange: not null }) needs = (needs ?? 0) | InputScales.Needs(Transform);
            }

            return needs;
        }
    }

    /// <summary>Whether statistics of the output matrix's inputs are among <see cref="Needs"/> (<see cref="CalibrationOptions.IncludesOutput"/>).</summary>
    public bool NeedsOutput => Tensors.Any(tensor => tensor.IsBehindLayers);

    /// <summary>Chooses formats by llama-quantize's rules (llama.cpp v0.5.0), rounded to nearest.</summary>
    /// <inheritdoc cref="Create(GgufFile, PlanOptions)" path="/exception"/>
    /// <param name="file">The model.</param>
    /// <param name="type">The type.</param>
    /// <param name="isPure">Whether every tensor gets the type's format, with no mix.</param>
    /// <param name="hasImportance">Whether there is an importance matrix, which some mixes ask.</param>
    /// <param name="overrides">Targets of tensors whose name a pattern is found in; the first that is found counts.</param>
    public static QuantizationPlan Create(GgufFile file, FileType type, bool isPure, bool hasImportance, IReadOnlyList<(Regex Pattern, TensorTarget Target)> overrides) =>
        Create(file, new PlanOptions { Type = type, IsPure = isPure, HasImportance = hasImportance, Overrides = overrides });

    /// <summary>Chooses a target and a method for each tensor.</summary>
    /// <param name="file">The model.</param>
    /// <param name="options">What is asked for.</param>
    /// <exception cref="QuantizationException">An override names no tensor that is quantized, a layer cannot be told, or rows do not fit an encoding.</exception>
    /// <exception cref="GgufException">A key of the metadata has another type than it ought to have.</exception>
    public static QuantizationPlan Create(GgufFile file, PlanOptions options)
    {
        ArgumentNullException.ThrowIfNull(file);
        ArgumentNullException.ThrowIfNull(options);
        MixRules? rules = options.Type is { } type && !options.IsPure && type.Format.BlockValues > 1 ? new MixRules(file, type, options.HasImportance) : null;
        RoundToNearest nearest = options.Method as RoundToNearest ?? new RoundToNearest();
        bool[] isUsed = new bool[options.Overrides.Count];
        List<PlannedTensor> planned = [];
        foreach (IWeightSource tensor in file.Weights.All.OrderBy(tensor => tensor.Name, Comparer<string>.Create(TensorNames.Compare)))
        {
            if (!TensorNames.IsQuantizable(tensor))
            {
                planned.Add(new PlannedTensor(tensor, Kept(tensor), nearest));
                continue;
            }

            int match = Match(options.Overrides, tensor.Name);
            if (match >= 0) isUsed[match] = true;
            bool isLinear = TensorNames.Layer(tensor.Name) >= 0;
            TensorTarget wanted = match >= 0 ? options.Overrides[match].Target
                : rules is not null ? rules.Next(tensor)
                : options.Type is { } plain ? plain.Format
                : isLinear ? options.Target ?? throw new ArgumentException("There is neither a type nor a target.", nameof(options))
                : Kept(tensor);
            TensorTarget target = Fitting(tensor, wanted);
            bool isByMethod = isLinear || TensorNames.Role(tensor.Name) == TensorRole.Output;
            planned.Add(new PlannedTensor(tensor, target, isByMethod && options.Method.Supports(target) ? options.Method : nearest.Supports(target) ? nearest : Nearest(target)) { Wanted = wanted });
        }

        int unused = Array.IndexOf(isUsed, false);
        if (unused >= 0)
            throw new QuantizationException($"'{options.Overrides[unused].Pattern}' is found in the name of no tensor that is quantized (or an earlier pattern is found in each); 'nibble inspect --tensors' lists them. Norms, routers and vectors stay as they are.");
        return Checked(new QuantizationPlan(options.Type, [.. planned]) { Transform = options.Transform });
    }

    /// <summary>Takes what targets and methods there are as given: tensor by tensor, in the order of the new file.</summary>
    /// <param name="type">What <c>general.file_type</c> will say, or null for nothing.</param>
    /// <param name="tensors">The tensors.</param>
    /// <param name="transform">What is done to the layers' floats before they are rounded, or null.</param>
    /// <exception cref="QuantizationException">Rows do not fit their target.</exception>
    public static QuantizationPlan Of(FileType? type, IEnumerable<PlannedTensor> tensors, LayerTransform? transform = null)
    {
        ImmutableArray<PlannedTensor> sorted = [.. tensors.OrderBy(tensor => tensor.Source.Name, Comparer<string>.Create(TensorNames.Compare))];
        foreach (PlannedTensor tensor in sorted) Check(tensor.Source, tensor.Target);
        return Checked(new QuantizationPlan(type, sorted) { Transform = transform });
    }

    private static QuantizationPlan Checked(QuantizationPlan plan) => plan.Transform is { } transform && plan.Tensors.FirstOrDefault(tensor => tensor.Target is Int8Target { Threshold: not null }) is { } tensor
        ? throw new QuantizationException($"'{transform}' makes other activations than those that a threshold of columns apart is for, and '{tensor.Source.Name}' was to become {tensor.Target}; leave out one of them.")
        : plan;

    /// <summary>The plainest method that makes a target: to nearest, but for zeros that are fractions.</summary>
    internal static RoundingMethod Nearest(TensorTarget target) => s_nearest.Supports(target) ? s_nearest : s_fractions;

    /// <summary>Which pattern is the first that is found in a name; -1 for none.</summary>
    internal static int Match(IReadOnlyList<(Regex Pattern, TensorTarget Target)> overrides, string name)
    {
        for (int i = 0; i < overrides.Count; i++)
            if (overrides[i].Pattern.IsMatch(name)) return i;
        return -1;
    }

    // An encoding has no place among formats; float32 holds all its values.
    internal static BlockFormat Kept(IWeightSource tensor) => tensor.IsStored ? tensor.Format : BlockFormats.F32;

    private static TensorTarget Fitting(IWeightSource tensor, TensorTarget wanted)
    {
        if (wanted is not BlockTarget { Format: var format })
        {
            Check(tensor, wanted);
            return wanted;
        }

        if (tensor.Columns % format.BlockValues != 0) format = s_fallbacks.GetValueOrDefault(format, BlockFormats.F16);
        return tensor.Columns % format.BlockValues == 0 ? format : BlockFormats.F16;
    }

    private static void Check(IWeightSource tensor, TensorTarget target)
    {
        try
        {
            target.Check(tensor);
            if (target is Int8Target { Threshold: not null } && TensorNames.Layer(tensor.Name) < 0)
                throw new ArgumentException($"tensor '{tensor.Name}' stands outside of the layers, where no columns are looked for; leave out the threshold.");
            if (target is EncodingTarget { InputRange: not null } && TensorNames.Layer(tensor.Name) < 0)
                throw new ArgumentException($"tensor '{tensor.Name}' stands outside of the layers, where no ranges of activations are looked for; leave out the range.");
        }
        catch (ArgumentException error)
        {
            throw new QuantizationException($"{error.Message} ('{tensor.Name}' was to become {target}.)");
        }
    }
}
