using System.Globalization;
using Nibble.Core.Compute;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;
using Nibble.Quantize.Calibration;

namespace Nibble.Quantize.Methods;

/// <summary>What a tensor becomes: blocks of GGUF, or one of Nibble's encodings. How its values are rounded to it is a <see cref="RoundingMethod"/>'s business.</summary>
public abstract record TensorTarget
{
    /// <summary>The target in a recipe or after <c>--tensor</c>, which <see cref="Find"/> reads: <c>Q4_K</c>, <c>int4:g128:asym</c>, <c>nf4:double</c>, <c>int8:row</c>, <c>llm.int8</c>.</summary>
    public abstract string Name { get; }

    /// <summary>Targets whose names <see cref="Find"/> reads beside those of block formats, for people.</summary>
    public static string Spellings => "int2, int3, int4 and int8 with :g32, :g64, :g128, :row or :tensor and perhaps :asym or :float (int4:g128:asym), nf4, nf4:double, fp4, fp4:double, llm.int8, llm.int8:t6 (columns apart whose activations reach 6); each perhaps with a static range of activations, :static- and minmax, percentile, 3sigma, mse or entropy";

    /// <summary>Blocks of a format.</summary>
    /// <param name="format">The format.</param>
    public static implicit operator TensorTarget(BlockFormat format) => new BlockTarget(format);

    /// <summary>Bytes of a tensor.</summary>
    /// <param name="source">The tensor, whose shape <see cref="Check"/> found to fit.</param>
    public abstract long ByteLength(IWeightSource source);

    /// <summary>Checks that a tensor can become this.</summary>
    /// <param name="source">The tensor.</param>
    /// <exception cref="ArgumentException">Its rows do not fit; the message names tensor, columns and what would fit.</exception>
    public abstract void Check(IWeightSource source);

    /// <summary>The values of a matrix, exactly as a reader decodes them.</summary>
    /// <param name="rounded">A matrix in this target's bytes.</param>
    /// <param name="task">What it was made of.</param>
    /// <returns>[rows x columns].</returns>
    public abstract float[] Decode(RoundedMatrix rounded, RoundingTask task);

    /// <summary>The target of a name, in any case, or null.</summary>
    /// <param name="name">As <see cref="Name"/> gives it; the parts after the first may stand in any order.</param>
    public static TensorTarget? Find(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        if (BlockFormats.Find(name) is { } format) return new BlockTarget(format);
        string[] words = name.ToLowerInvariant().Split(':');
        HashSet<string> flags = [.. words.Skip(1)];
        if (flags.Count != words.Length - 1) return null;
        string? range = null;
        if (flags.FirstOrDefault(flag => flag.StartsWith(EncodingTarget.StaticWord, StringComparison.Ordinal)) is { } word)
        {
            flags.Remove(word);
            range = word[EncodingTarget.StaticWord.Length..];
            if (RangeEstimator.All.All(one => one.Name != range)) return null;
        }

        return FindEncoding(words[0], flags) is { } found ? found with { InputRange = range } : null;
    }

    private static EncodingTarget? FindEncoding(string kind, HashSet<string> flags)
    {
        switch (kind)
        {
            case "nf4" or "fp4":
                bool isDouble = flags.Remove("double");
                return flags.Count == 0 ? new TableTarget(kind) { IsDouble = isDouble } : null;
            case "llm.int8":
                return Int8Target.Read(flags);
            case "int2" or "int3" or "int4" or "int8":
                return FindGroup(kind[3] - '0', flags);
            default:
                return null;
        }
    }

    /// <inheritdoc/>
    public sealed override string ToString() => Name;

    private static GroupTarget? FindGroup(int bits, HashSet<string> flags)
    {
        // Nothing finds the fraction that stands for 0 in a whole matrix.
        if (flags.IsSupersetOf(["tensor", "float"])) return null;
        GroupZero zero = flags.Remove("asym") ? GroupZero.Integer : flags.Remove("float") ? GroupZero.Float : GroupZero.Middle;
        int group = flags.Remove("row") ? 0 : flags.Remove("tensor") ? GroupTarget.WholeTensor : -1;
        foreach (string flag in flags)
        {
            if (group != -1 || flag.Length < 2 || flag[0] != 'g' || !int.TryParse(flag.AsSpan(1), NumberStyles.None, CultureInfo.InvariantCulture, out group) || group == 0) return null;
        }

        return new GroupTarget(bits, group == -1 ? GroupTarget.UsualGroup : group) { Zero = zero };
    }
}

/// <summary>Blocks of a GGUF format.</summary>
/// <param name="Format">The format.</param>
public sealed record BlockTarget(BlockFormat Format) : TensorTarget
{
    /// <inheritdoc/>
    public override string Name => Format.Name;

    /// <inheritdoc/>
    public override long ByteLength(IWeightSource source) => Format.RowBytes(source.Columns) * source.Rows * source.Matrices;

    /// <inheritdoc/>
    public override void Check(IWeightSource source)
    {
        if (source.Columns % Format.BlockValues != 0)
            throw new ArgumentException($"tensor '{source.Name}' has rows of {source.Columns} values, no multiple of the {Format.BlockValues} of {Format}.", nameof(source));
    }

    /// <inheritdoc/>
    public override float[] Decode(RoundedMatrix rounded, RoundingTask task)
    {
        int rowBytes = (int)Format.RowBytes(task.Columns);
        float[] values = new float[task.Weights.Length];
        Work.For(task.Rows, row => Format.Decode(rounded.Blocks.AsSpan(row * rowBytes, rowBytes), values.AsSpan(row * task.Columns, task.Columns)));
        return values;
    }
}

/// <summary>One of Nibble's encodings (docs/encodings.md).</summary>
public abstract record EncodingTarget : TensorTarget
{
    internal const string StaticWord = "static-";

    /// <summary>How the range of the activations is estimated that are rounded to 8 bits with one stored scale: a name of <see cref="RangeEstimator.All"/>; null where activations are rounded as a backend likes.</summary>
    public string? InputRange { get; init; }

    /// <inheritdoc/>
    public sealed override string Name => InputRange is null ? OwnName : $"{OwnName}:{StaticWord}{InputRange}";

    /// <summary>The name without the range of activations.</summary>
    private protected abstract string OwnName { get; }

    /// <summary>The description of a tensor's shape, without numbers that follow from its values.</summary>
    public TensorEncoding Shape(IWeightSource source)
    {
        ArgumentNullException.ThrowIfNull(source);
        return OwnShape(source) with { HasInputScale = InputRange is not null };
    }

    private protected abstract TensorEncoding OwnShape(IWeightSource source);

    /// <summary>The whole description, which stands in a file before the tensor's bytes.</summary>
    /// <param name="source">The tensor; its values are read where the description depends on them.</param>
    public virtual TensorEncoding Describe(IWeightSource source) => Shape(source);

    /// <inheritdoc/>
    public override long ByteLength(IWeightSource source) => Shape(source).ByteLength;

    /// <inheritdoc/>
    public override void Check(IWeightSource source) => Shape(source).Check();

    /// <inheritdoc/>
    public override float[] Decode(RoundedMatrix rounded, RoundingTask task)
    {
        ArgumentNullException.ThrowIfNull(rounded);
        ArgumentNullException.ThrowIfNull(task);
        EncodedData data = new();
        foreach ((EncodedPart part, byte[] bytes) in rounded.Parts) data.Set(part, bytes);
        EncodedTensor tensor = new(task.Encoding! with { Matrices = 1, HasInputScale = false }, data);
        float[] values = new float[task.Weights.Length];
        Work.For(task.Rows, row => tensor.DecodeRow(row, values.AsSpan(row * task.Columns, task.Columns)));
        return values;
    }
}

/// <summary>What stands for 0 in a group of integers.</summary>
public enum GroupZero
{
    /// <summary>2^(bits - 1), in every group: symmetric.</summary>
    Middle,

    /// <summary>A whole number for each group, 0 to 2^bits - 1: asymmetric.</summary>
    Integer,

    /// <summary>A float16 for each group, which need not be whole.</summary>
    Float,
}

/// <summary>Whole numbers with a float16 scale for each group of columns.</summary>
/// <param name="Bits">Bits of a code: 2, 3, 4 or 8.</param>
/// <param name="Group">Columns of a group; 0 for the whole row, <see cref="WholeTensor"/> for all of a matrix.</param>
public sealed record GroupTarget(int Bits, int Group) : EncodingTarget
{
    /// <summary>The group that is taken where none is named.</summary>
    public const int UsualGroup = 128;

    /// <summary>A <see cref="Group"/> that is all of a matrix.</summary>
    public const int WholeTensor = -2;

    /// <summary>Whether a matrix has one scale, which no method but nearest makes.</summary>
    public bool IsWhole => Group == WholeTensor;

    /// <summary>What stands for 0.</summary>
    public GroupZero Zero { get; init; }

    private protected override string OwnName =>
        string.Create(CultureInfo.InvariantCulture, $"int{Bits}:{(IsWhole ? "tensor" : Group == 0 ? "row" : $"g{Group}")}{Zero switch { GroupZero.Integer => ":asym", GroupZero.Float => ":float", _ => string.Empty }}");

    /// <summary>Columns of a group of a matrix.</summary>
    /// <param name="columns">The matrix's columns.</param>
    public int GroupOf(int columns) => Group == 0 ? columns : Group;

    private protected override TensorEncoding OwnShape(IWeightSource source) => new GroupEncoding(source.Name, source.Columns, source.Rows)
    {
        Matrices = source.Matrices,
        Bits = Bits,
        Group = IsWhole ? (int)Math.Min(int.MaxValue, (long)source.Rows * source.Columns) : GroupOf(source.Columns),
        IsFlat = IsWhole,
        ZeroFormat = Zero switch { GroupZero.Integer => BlockFormats.I8, GroupZero.Float => BlockFormats.F16, _ => null },
        Zero = Zero == GroupZero.Middle ? 1 << (Bits - 1) : 0,
    };
}

/// <summary>4-bit codes of a table, with a float32 scale for each block, or scales of 8 bits (double quantization): NF4 and FP4 as bitsandbytes has them.</summary>
/// <param name="Table"><c>nf4</c> or <c>fp4</c>.</param>
public sealed record TableTarget(string Table) : EncodingTarget
{
    /// <summary>Values that share a scale.</summary>
    public const int Block = 64;

    /// <summary>Scales that share a nested scale.</summary>
    public const int NestedBlock = 256;

    /// <summary>Whether scales are quantized, too.</summary>
    public bool IsDouble { get; init; }

    private protected override string OwnName => IsDouble ? $"{Table}:double" : Table;

    private protected override TensorEncoding OwnShape(IWeightSource source) => new TableEncoding(source.Name, source.Columns, source.Rows)
    {
        Matrices = source.Matrices,
        TableName = Table,
        Block = Block,
        IsFlat = source.Columns % Block != 0,
        NestedBlock = IsDouble ? NestedBlock : 0,
    };

    /// <inheritdoc/>
    public override TensorEncoding Describe(IWeightSource source) =>
        IsDouble ? (TableEncoding)Shape(source) with { NestedOffset = NearestTable.MeanScale(source, Block) } : Shape(source);
}

/// <summary>Signed bytes with the largest magnitude of each row: the weights of LLM.int8.</summary>
public sealed record Int8Target : EncodingTarget
{
    /// <summary>The threshold of the paper.</summary>
    public const double UsualThreshold = 6;

    private const char ThresholdLetter = 't';

    /// <summary>Columns are stored apart, in float16, whose activations reach this magnitude on a text (<see cref="Quantization.OutlierSearch"/>); null where none are looked for.</summary>
    public double? Threshold { get; init; }

    private protected override string OwnName => Threshold is { } threshold ? string.Create(CultureInfo.InvariantCulture, $"llm.int8:{ThresholdLetter}{threshold:R}") : "llm.int8";

    /// <inheritdoc/>
    public override void Check(IWeightSource source)
    {
        ArgumentNullException.ThrowIfNull(source);
        if (Threshold is not null && InputRange is not null)
            throw new ArgumentException($"tensor '{source.Name}' cannot have both columns apart, whose activations are not rounded, and a static range of activations; leave out one.", nameof(source));
        base.Check(source);
    }

    /// <summary>The target of the words behind its name, or null.</summary>
    internal static Int8Target? Read(HashSet<string> flags)
    {
        if (flags.Count == 0) return new Int8Target();
        string flag = flags.First();
        return flags.Count == 1 && flag.StartsWith(ThresholdLetter) && double.TryParse(flag.AsSpan(1), NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent, CultureInfo.InvariantCulture, out double threshold) && IsThreshold(threshold)
            ? new Int8Target { Threshold = threshold } : null;
    }

    /// <summary>Whether a number can be a threshold: finite and above 0.</summary>
    /// <param name="value">The number.</param>
    public static bool IsThreshold(double value) => value > 0 && double.IsFinite(value);

    private protected override TensorEncoding OwnShape(IWeightSource source) => new Int8Encoding(source.Name, source.Columns, source.Rows) { Matrices = source.Matrices };
}
