using System.Collections.Immutable;
using Nibble.Core.Formats;
using Nibble.Quantize.Methods;

namespace Nibble.Quantize.Planning;

/// <summary>GPTQ into GGUF's blocks with what errors of a tensor cost: each group of rows with its own Hessian, embedding and output too.</summary>
/// <param name="gptq">How each group is rounded.</param>
/// <param name="costs">The costs.</param>
public sealed class CostRounding(GptqRounding gptq, CostStore costs) : RoundingMethod
{
    internal const string Word = "fisher";

    // That of the last tensor, since a tensor of experts comes matrix by matrix.
    private readonly Lock _lock = new();
    private (string Name, Prepared Cost)? _last;

    /// <inheritdoc/>
    public override string Name => $"{Word}-{gptq.Name}";

    /// <inheritdoc/>
    public override string Identity => $"{Name} {costs.Identity}";

    /// <summary>The settings of a name that <see cref="Name"/> gave, or null.</summary>
    /// <param name="name">The name.</param>
    public static GptqRounding? Find(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        return name.StartsWith($"{Word}-", StringComparison.Ordinal) ? RoundingMethods.Find(name[(Word.Length + 1)..]) as GptqRounding : null;
    }

    /// <inheritdoc/>
    public override bool Supports(TensorTarget target) => target is BlockTarget { Format: var format } && BlockGrid.Supports(format);

    /// <inheritdoc/>
    public override RoundedMatrix Round(RoundingTask task, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(task);
        if (!Supports(task.Target)) throw NoTarget(task);
        lock (_lock)
        {
            if (_last is not { } last || last.Name != task.Name)
            {
                _last = null;
                _last = last = (task.Name, new Prepared(gptq, costs.Read(task.Name)));
            }

            return last.Cost.Round(task, cancellation);
        }
    }

    /// <summary>A tensor's cost with the factors of its Hessians, for several targets.</summary>
    /// <param name="gptq">How each group is rounded.</param>
    /// <param name="cost">The cost.</param>
    internal sealed class Prepared(GptqRounding gptq, TensorCost cost)
    {
        private readonly ImmutableArray<LayerHessian> _hessians = [.. Enumerable.Range(0, cost.Groups.Length).Select(group => new LayerHessian(cost.Hessian(group), cost.Columns, gptq.Damp, gptq.IsSorted))];

        /// <summary>Rounds the tensor.</summary>
        /// <exception cref="HessianException">A Hessian cannot be used.</exception>
        public RoundedMatrix Round(RoundingTask task, CancellationToken cancellation)
        {
            BlockFormat format = ((BlockTarget)task.Target).Format;
            int rowBytes = (int)format.RowBytes(task.Columns);
            byte[] blocks = new byte[(long)rowBytes * task.Rows];
            for (int group = 0; group < _hessians.Length; group++)
            {
                (int first, int count) = cost.Groups[group];
                RoundingTask part = new()
                {
                    Name = task.Name,
                    Weights = task.Weights.AsSpan(first * task.Columns, count * task.Columns).ToArray(),
                    Rows = count,
                    Columns = task.Columns,
                    Target = task.Target,
                };
                gptq.Round(part, _hessians[group], cancellation).Blocks.CopyTo(blocks, first * rowBytes);
            }

            return new RoundedMatrix(blocks);
        }
    }
}
