using System.Collections.Immutable;
using System.Globalization;
using System.Runtime.InteropServices;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;
using Nibble.Quantize.Calibration;

namespace Nibble.Quantize.Methods;

/// <summary>GPTQ (<see cref="Gptq"/>) onto the grid of a target, with the Hessian of what the matrix is multiplied with: integers in groups, NF4 and FP4, and those of GGUF's blocks that have a <see cref="BlockGrid"/>.</summary>
public sealed class GptqRounding : RoundingMethod
{
    internal const string Word = "gptq";
    private const string SortedWord = "act-order";
    private const string RefineWord = "refine=";
    private const string DampWord = "damp=";
    private const double UsualDamp = 0.01;
    private const int MostRefineRounds = 100;

    // That of the last matrix, since several weights read the same.
    private readonly Lock _lock = new();
    private (ActivationStatistics Statistics, int Matrix, float[]? Divisors, LayerHessian Hessian)? _last;

    /// <summary>Whether columns come in descending order of the Hessian's diagonal (act-order). Groups are fitted beforehand, so that codes stay in the columns' own order.</summary>
    public bool IsSorted { get; init; }

    /// <summary>What is added to the Hessian's diagonal, as a share of its mean: 0 to 1.</summary>
    public double Damp { get; init; } = UsualDamp;

    /// <summary>Rounds of <see cref="Refinement"/> behind it: 0 for plain GPTQ, 4 are usual.</summary>
    public int RefineRounds { get; init; }

    /// <summary>Threads; 0 for those of <see cref="Work.Threads"/>.</summary>
    public int Threads { get; init; }

    /// <inheritdoc/>
    public override string Name =>
        string.Create(CultureInfo.InvariantCulture, $"{Word}{(IsSorted ? $":{SortedWord}" : string.Empty)}{(RefineRounds == 0 ? string.Empty : $":{RefineWord}{RefineRounds}")}{(Damp == UsualDamp ? string.Empty : $":{DampWord}{Damp:R}")}");

    /// <inheritdoc/>
    public override StatisticKinds? Needs => StatisticKinds.Hessian;

    /// <inheritdoc/>
    public override bool Supports(TensorTarget target) => target switch
    {
        GroupTarget group => group.Zero != GroupZero.Float && !group.IsWhole,
        TableTarget => true,
        BlockTarget blocks => BlockGrid.Supports(blocks.Format),
        _ => false,
    };

    /// <inheritdoc/>
    public override RoundedMatrix Round(RoundingTask task, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(task);
        ActivationStatistics statistics = task.Statistics ?? throw new ArgumentException($"GPTQ needs the Hessian of what '{task.Name}' is multiplied with.", nameof(task));
        return Round(task, Hessian(statistics, task.Matrix, task.InputDivisors), cancellation);
    }

    /// <summary>Rounds a matrix whose errors cost what any Hessian says; the task's statistics do not count.</summary>
    /// <param name="task">The matrix.</param>
    /// <param name="hessian">The Hessian, with its own order and damping.</param>
    /// <param name="cancellation">Stops between rows.</param>
    /// <exception cref="HessianException">The Hessian cannot be used.</exception>
    /// <exception cref="ArgumentException">Not a target that <see cref="Supports"/> knows, or its blocks do not divide the columns.</exception>
    public RoundedMatrix Round(RoundingTask task, LayerHessian hessian, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(task);
        ArgumentNullException.ThrowIfNull(hessian);
        if (!Supports(task.Target)) throw NoTarget(task);
        ParallelOptions options = new() { MaxDegreeOfParallelism = Threads == 0 ? -1 : Threads, CancellationToken = cancellation };
        switch (task.Target)
        {
            case BlockTarget { Format: var format }:
                BlockGrid blocks = new(task.Rows, task.Columns, format);
                Gptq.Quantize(task.Weights, hessian, blocks, RefineRounds, options);
                return Packed(blocks, format);
            case GroupTarget target:
                IntegerGrid integers = new(task.Rows, task.Columns, target.Bits, target.GroupOf(task.Columns), target.Zero == GroupZero.Middle);
                Gptq.Quantize(task.Weights, hessian, integers, RefineRounds, options);
                return NearestGroups.Parts(task, target, integers.Codes, integers.Scales, integers.Zeros);
            case TableTarget { Table: var name, IsDouble: var isDouble }:
                ImmutableArray<float> table = NearestTable.Table(name);
                if (task.Columns % TableTarget.Block != 0)
                    throw new ArgumentException($"tensor '{task.Name}' has {task.Columns} columns, which blocks of {TableTarget.Block} do not divide; GPTQ makes only {name} blocks that end with the row.", nameof(task));
                TableGrid grid = new(task.Rows, task.Columns, table.AsSpan(), TableTarget.Block, halfScales: false);
                Dictionary<EncodedPart, byte[]> parts = [];
                if (isDouble)
                {
                    // Nested scales follow from the fitted ones of 256 blocks; codes are then chosen by what a reader finds.
                    grid.Fit(task.Weights, hessian.Importance, options);
                    grid.Fix(NearestTable.Describe((TableEncoding)task.Encoding!, grid.Scales, table, parts));
                }

                Gptq.Quantize(task.Weights, hessian, grid, RefineRounds, options);
                if (!isDouble) NearestTable.Describe((TableEncoding)task.Encoding!, grid.Scales, table, parts);
                byte[] codes = new byte[grid.Codes.Length / 2];
                CodeBits.Pack(grid.TableCodes(), 4, codes);
                parts[EncodedPart.Codes] = codes;
                return new RoundedMatrix(parts);
            default:
                throw NoTarget(task);
        }
    }

    internal static GptqRounding? Read(ReadOnlySpan<string> words)
    {
        bool isSorted = false;
        double? damp = null;
        int? refine = null;
        foreach (string word in words)
        {
            if (word == SortedWord && !isSorted) isSorted = true;
            else if (refine is null && word.StartsWith(RefineWord, StringComparison.Ordinal) && int.TryParse(word.AsSpan(RefineWord.Length), NumberStyles.None, CultureInfo.InvariantCulture, out int rounds) && rounds <= MostRefineRounds) refine = rounds;
            else if (damp is null && word.StartsWith(DampWord, StringComparison.Ordinal) && double.TryParse(word.AsSpan(DampWord.Length), NumberStyles.Float, CultureInfo.InvariantCulture, out double share) && share is >= 0 and <= 1) damp = share;
            else return null;
        }

        return new GptqRounding { IsSorted = isSorted, Damp = damp ?? UsualDamp, RefineRounds = refine ?? 0 };
    }

    private static RoundedMatrix Packed(BlockGrid grid, BlockFormat format)
    {
        int rowBytes = (int)format.RowBytes(grid.Columns);
        byte[] bytes = new byte[(long)rowBytes * grid.Rows];
        Work.For(grid.Rows, row => grid.Pack(row, bytes.AsSpan(row * rowBytes, rowBytes)));
        return new RoundedMatrix(bytes);
    }

    private LayerHessian Hessian(ActivationStatistics statistics, int matrix, float[]? divisors)
    {
        lock (_lock)
        {
            if (_last is { } last && last.Statistics == statistics && last.Matrix == matrix && last.Divisors == divisors) return last.Hessian;
            _last = null;
            LayerHessian hessian = LayerHessian.Of(statistics, matrix, Damp, IsSorted);
            if (divisors is not null)
            {
                float[] values = hessian.Values;
                for (int i = 0; i < values.Length; i++) values[i] /= divisors[i / divisors.Length] * divisors[i % divisors.Length];
            }

            _last = (statistics, matrix, divisors, hessian);
            return hessian;
        }
    }
}
