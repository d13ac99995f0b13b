using System.Collections.Immutable;
using System.Text.RegularExpressions;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Quantize.Methods;
using Nibble.Quantize.Quantization;

namespace Nibble.Quantize.Planning;

/// <summary>How far measuring candidates is.</summary>
/// <param name="Share">0 to 1, by values.</param>
/// <param name="Tensor">The tensor that is being measured.</param>
public readonly record struct PlanProgress(double Share, string Tensor);

/// <summary>Chooses what each tensor becomes under a budget: every candidate is made once and what its errors cost is measured, then <see cref="MixSolver"/> chooses.</summary>
public sealed class MixPlanner
{
    // From few bits to many. Of those with blocks of 256 a row of other length has none.
    private static readonly ImmutableArray<BlockFormat> s_large = [BlockFormats.Q2_K, BlockFormats.Q3_K, BlockFormats.IQ4_XS, BlockFormats.Q4_K, BlockFormats.Q5_K, BlockFormats.Q6_K, BlockFormats.Q8_0];
    private static readonly ImmutableArray<BlockFormat> s_small = [BlockFormats.IQ4_NL, BlockFormats.Q5_0, BlockFormats.Q5_1, BlockFormats.Q8_0];

    // Matrices of a tensor that a candidate is made of, to learn what it costs.
    private const int MostMatrices = 8;

    private readonly GgufFile _file;
    private readonly CostStore _costs;
    private readonly GptqRounding _gptq;
    private readonly CostRounding _method;
    private readonly IReadOnlyList<(Regex Pattern, TensorTarget Target)> _overrides;
    private readonly List<IWeightSource> _free = [];
    private readonly List<PlannedTensor> _fixed = [];

    /// <summary>Prepares.</summary>
    /// <param name="file">The model.</param>
    /// <param name="costs">What errors cost, of every tensor that something is chosen for.</param>
    /// <param name="gptq">How tensors are rounded.</param>
    /// <param name="overrides">Targets of tensors whose name a pattern is found in, which are then not chosen; the first that is found counts.</param>
    /// <exception cref="QuantizationException">An override names no tensor, or what it names cannot be made.</exception>
    public MixPlanner(GgufFile file, CostStore costs, GptqRounding gptq, IReadOnlyList<(Regex Pattern, TensorTarget Target)> overrides)
    {
        ArgumentNullException.ThrowIfNull(file);
        ArgumentNullException.ThrowIfNull(costs);
        ArgumentNullException.ThrowIfNull(gptq);
        ArgumentNullException.ThrowIfNull(overrides);
        (_file, _costs, _gptq, _overrides) = (file, costs, gptq, overrides);
        _method = new CostRounding(gptq, costs);
        Sort();
    }

    /// <summary>The method by which every chosen tensor is rounded.</summary>
    public RoundingMethod Method => _method;

    /// <summary>Measures what every candidate of every tensor costs. What the store knows is not measured again.</summary>
    /// <param name="progress">Told of each candidate, or null.</param>
    /// <param name="cancellation">Looked at between rows; what was measured stays in the store.</param>
    /// <exception cref="QuantizationException">A tensor's Hessian cannot be used.</exception>
    /// <exception cref="OperationCanceledException">It was stopped.</exception>
    public ImmutableArray<MixTensor> Measure(IProgress<PlanProgress>? progress, CancellationToken cancellation)
    {
        List<MixTensor> measured = [];
        double all = _free.Sum(tensor => (double)tensor.RowCount * tensor.Columns), done = 0;
        foreach (IWeightSource tensor in _free)
        {
            ImmutableArray<BlockFormat> formats = Formats(tensor);
            CostRounding.Prepared? prepared = null;
            TensorCost? cost = null;
            List<MixCandidate> candidates = [];
            foreach (BlockFormat format in formats)
            {
                cancellation.ThrowIfCancellationRequested();
                BlockTarget target = new(format);
                if (_costs.Loss(tensor.Name, target.Name, _method.Name) is not { } loss)
                {
                    try
                    {
                        cost ??= _costs.Read(tensor.Name);
                        prepared ??= new CostRounding.Prepared(_gptq, cost);
                        loss = Loss(tensor, target, cost, prepared, cancellation);
                    }
                    catch (Exception error) when (error is HessianException or ArgumentException)
                    {
                        throw new QuantizationException($"tensor '{tensor.Name}' as {target}: {error.Message}");
                    }

                    if (!double.IsFinite(loss)) throw new QuantizationException($"tensor '{tensor.Name}' as {target}: what it costs is {loss}.");
                    _costs.AddLoss(tensor.Name, target.Name, _method.Name, loss);
                }

                candidates.Add(new MixCandidate(target.Name, Padded(target.ByteLength(tensor)), loss));
                done += (double)tensor.RowCount * tensor.Columns / formats.Length;
                progress?.Report(new PlanProgress(done / all, tensor.Name));
            }

            measured.Add(new MixTensor(tensor.Name, [.. candidates]));
        }

        return [.. measured];
    }

    /// <summary>The plan of a mix.</summary>
    /// <param name="tensors">What <see cref="Measure"/> gave.</param>
    /// <param name="mix">A choice of theirs.</param>
    public QuantizationPlan Plan(IReadOnlyList<MixTensor> tensors, Mix mix)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        ArgumentNullException.ThrowIfNull(mix);
        return QuantizationPlan.Of(null, _free.Select((tensor, i) => new PlannedTensor(tensor, TensorTarget.Find(tensors[i].Candidates[mix.Choices[i]].Name)!, _method)).Concat(_fixed));
    }

    /// <summary>Bytes of the file of a mix.</summary>
    /// <param name="tensors">What <see cref="Measure"/> gave.</param>
    /// <param name="mix">A choice of theirs.</param>
    public long FileBytes(IReadOnlyList<MixTensor> tensors, Mix mix) => new ModelQuantizer(_file, Plan(tensors, mix), null, null).FileBytes;

    /// <summary>The best mix found for a budget.</summary>
    /// <param name="tensors">What <see cref="Measure"/> gave.</param>
    /// <param name="budget">The budget.</param>
    /// <exception cref="QuantizationException">Not even the smallest mix fits; the message names its size.</exception>
    public Mix Solve(IReadOnlyList<MixTensor> tensors, SizeBudget budget)
    {
        ArgumentNullException.ThrowIfNull(budget);
        Mix smallest = MixSolver.Curve(tensors)[0];
        QuantizationPlan plan = Plan(tensors, smallest);
        // Bits count the tensors' own bytes; a file's size counts names, metadata and gaps, too.
        long overhead = budget.Bytes is null ? _fixed.Sum(tensor => tensor.ByteLength) : FileBytes(tensors, smallest) - smallest.Bytes;
        return MixSolver.Solve(tensors, budget.TensorBytes(overhead, plan.ValueCount)) ?? throw new QuantizationException(budget.Bytes is null
            ? string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{budget} were asked for; the smallest file that can be made has {plan.BitsPerWeight:F3}. Ask for more.")
            : string.Create(System.Globalization.CultureInfo.InvariantCulture, $"a file of at most {budget} was asked for; the smallest that can be made has {FileBytes(tensors, smallest)}. Ask for more."));
    }

    // Of many experts some are rounded, at equal distances, and stand for all.
    private static double Loss(IWeightSource tensor, BlockTarget target, TensorCost cost, CostRounding.Prepared prepared, CancellationToken cancellation)
    {
        int matrices = tensor.Matrices, count = Math.Min(matrices, MostMatrices);
        if (cost.Matrices.Length != matrices || cost.Rows != tensor.Rows || cost.Columns != tensor.Columns)
            throw new ArgumentException($"its cost is of {cost.Matrices.Length} matrices of {cost.Rows} rows of {cost.Columns}; it has {matrices} of {tensor.Rows} rows of {tensor.Columns}.", nameof(tensor));
        double loss = 0, seen = 0;
        for (int i = 0; i < count; i++)
        {
            int matrix = (int)((long)i * matrices / count);
            RoundingTask task = RoundingTask.Of(tensor, matrix, target);
            loss += cost.Matrices[matrix] * cost.Loss(task.Weights, target.Decode(prepared.Round(task, cancellation), task));
            seen += cost.Matrices[matrix];
        }

        return count == matrices || seen == 0 ? loss : loss / seen * cost.Matrices.Sum(weight => (double)weight);
    }

    private long Padded(long bytes) => (bytes + _file.Alignment - 1) / _file.Alignment * _file.Alignment;

    /// <summary>What a tensor may become, from few bits to many; empty where its rows fit no block.</summary>
    /// <param name="tensor">The tensor.</param>
    internal static ImmutableArray<BlockFormat> Formats(IWeightSource tensor)
    {
        ImmutableArray<BlockFormat> formats = [.. s_large.Where(format => tensor.Columns % format.BlockValues == 0)];
        return formats.Length > 1 ? formats : [.. s_small.Where(format => tensor.Columns % format.BlockValues == 0)];
    }

    private void Sort()
    {
        bool[] isUsed = new bool[_overrides.Count];
        foreach (IWeightSource tensor in _file.Weights.All)
        {
            bool isQuantizable = TensorNames.IsQuantizable(tensor);
            int match = isQuantizable ? QuantizationPlan.Match(_overrides, tensor.Name) : -1;
            if (match >= 0)
            {
                isUsed[match] = true;
                TensorTarget target = _overrides[match].Target;
                _fixed.Add(new PlannedTensor(tensor, target, _method.Supports(target) && _costs.Has(tensor.Name) ? _method : QuantizationPlan.Nearest(target)));
            }
            else if (isQuantizable && _costs.Has(tensor.Name) && Formats(tensor).Length > 0)
            {
                _free.Add(tensor);
            }
            else
            {
                _fixed.Add(new PlannedTensor(tensor, QuantizationPlan.Kept(tensor), new RoundToNearest()));
            }
        }

        int unused = Array.IndexOf(isUsed, false);
        if (unused >= 0) throw new QuantizationException($"'{_overrides[unused].Pattern}' is found in the name of no tensor that is quantized (or an earlier pattern is found in each); 'nibble inspect --tensors' lists them.");
        if (_free.Count == 0) throw new QuantizationException("there is no tensor left to choose a format for; leave out some --tensor, or ask for a --type.");
    }
}
