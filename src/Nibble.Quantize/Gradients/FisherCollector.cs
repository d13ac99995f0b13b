using Nibble.Core.Memory;
using Nibble.Llm.Models;
using Nibble.Quantize.Calibration;

namespace Nibble.Quantize.Gradients;

/// <summary>Sums up the <see cref="FisherStatistics"/> of one layer, chunk after chunk in their order, the weights and groups side by side.</summary>
internal sealed unsafe class FisherCollector : IDisposable
{
    private readonly List<Collected> _weights = [];

    /// <summary>Starts with zeros.</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="rowGroups">Groups of rows at most.</param>
    public FisherCollector(PlainLayer layer, int rowGroups)
    {
        int half = Math.Max(1, rowGroups / 2);
        Add(layer.Query, Groups(layer.Heads, rowGroups), space => space.AttentionInput, space => space.QueryGradient);
        Add(layer.Key, Groups(layer.Kv.Heads, half), space => space.AttentionInput, space => space.KeyGradient);
        Add(layer.Value, Groups(layer.Kv.Heads, half), space => space.AttentionInput, space => space.ValueGradient);
        Add(layer.Output, Groups(layer.Output.Rows, half), space => space.Attended, space => space.AttentionOutputGradient);
        Add(layer.Gate, Groups(layer.Gate.Rows, rowGroups), space => space.FeedForwardInput, space => space.GateGradient);
        Add(layer.Up, Groups(layer.Up.Rows, rowGroups), space => space.FeedForwardInput, space => space.UpGradient);
        Add(layer.Down, 1, space => space.Inner, space => space.FeedForwardOutputGradient);
    }

    /// <summary>Adds what chunks left in their workspaces.</summary>
    /// <param name="spaces">The workspaces, in the order of the chunks.</param>
    /// <param name="options">Threads.</param>
    public void Add(IReadOnlyList<LayerWorkspace> spaces, ParallelOptions options)
    {
        (Collected Weight, int Group)[] jobs = [.. from weight in _weights from @group in Enumerable.Range(-1, weight.Sums.Length + 1) select (weight, @group)];
        Work.For(jobs.Length, options, i =>
        {
            (Collected Weight, int Group) job = jobs[i];
            foreach (LayerWorkspace space in spaces)
            {
                if (job.Group < 0) job.Weight.AddSquares(space);
                else job.Weight.AddGroup(space, job.Group);
            }
        });
    }

    /// <summary>The means; nothing can be added any more.</summary>
    /// <param name="tokens">Tokens that were added.</param>
    /// <exception cref="CalibrationException">A gradient is no finite number.</exception>
    public List<FisherStatistics> Finish(long tokens)
    {
        List<FisherStatistics> statistics = [];
        foreach (Collected weight in _weights)
        {
            float[] squares = [.. weight.Squares.Select(sum => (float)(sum / tokens))];
            if (squares.Any(square => !float.IsFinite(square)))
                throw new CalibrationException($"a gradient at the output of '{weight.Linear.Weight}' is no finite number; look for what the calibration text makes overflow.");
            int columns = weight.Linear.Columns, groups = weight.Sums.Length;
            NativeBuffer hessians = new((long)groups * columns * columns * sizeof(float), isZeroed: false);
            for (int g = 0; g < groups; g++)
            {
                float* hessian = (float*)hessians.Pointer + ((long)g * columns * columns);
                weight.Sums[g].CopyTo(hessian);
                weight.Sums[g].Dispose();
                for (int i = 0; i < columns; i++)
                {
                    Span<float> row = new(hessian + ((long)i * columns), columns);
                    RowMath.Scale(row, 1f / tokens, row);
                }
            }

            statistics.Add(new FisherStatistics(weight.Linear.Weight, weight.Linear.Rows, columns, groups, hessians, squares));
        }

        return statistics;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Collected weight in _weights)
            foreach (GramMatrix sum in weight.Sums)
                sum.Dispose();
    }

    // The most groups of whole heads, or rows.
    private static int Groups(int parts, int most)
    {
        int groups = Math.Min(parts, most);
        while (parts % groups != 0)
            groups--;
        return groups;
    }

    private void Add(PlainLinear linear, int groups, Func<LayerWorkspace, Matrix> input, Func<LayerWorkspace, Matrix> gradient) =>
        _weights.Add(new Collected(linear, [.. Enumerable.Range(0, groups).Select(_ => new GramMatrix(linear.Columns))], new double[linear.Rows], input, gradient));

    private sealed record Collected(PlainLinear Linear, GramMatrix[] Sums, double[] Squares, Func<LayerWorkspace, Matrix> Input, Func<LayerWorkspace, Matrix> Gradient)
    {
        public void AddSquares(LayerWorkspace space)
        {
            Matrix gradient = Gradient(space);
            for (int t = 0; t < gradient.Rows; t++)
                RowMath.AddSquares(gradient.Row(t), Squares);
        }

        public void AddGroup(LayerWorkspace space, int group)
        {
            Matrix gradient = Gradient(space), input = Input(space);
            int rows = Linear.Rows / Sums.Length;
            using NativeBuffer memory = new(sizeof(float) * (long)input.Rows * input.Columns, isZeroed: false);
            Matrix weighted = new((float*)memory.Pointer, input.Rows, input.Columns);
            for (int t = 0; t < input.Rows; t++)
            {
                ReadOnlySpan<float> part = gradient.Row(t).Slice(group * rows, rows);
                RowMath.Scale(input.Row(t), MathF.Sqrt(RowMath.Dot(part, part) / rows), weighted.Row(t));
            }

            Sums[group].Add(weighted.Span, input.Rows);
        }
    }
}
