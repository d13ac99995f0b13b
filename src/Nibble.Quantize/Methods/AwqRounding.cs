using Nibble.Quantize.Calibration;

namespace Nibble.Quantize.Methods;

/// <summary>
/// The second half of AWQ: the range of each group of integers is clipped to the share of its largest magnitude, 1, 19/20 ... 11/20, that loses least, as δ H δᵀ with the group's own part of H; then rounded to
/// nearest. Queries and keys are not clipped, since their products grow by what they lose.
/// </summary>
/// <remarks>Lin et al., AWQ, arXiv 2306.00978; steps: AutoAWQ 0.2.9, quantize/quantizer.py.</remarks>
public sealed class AwqRounding : RoundingMethod
{
    internal const string Word = "awq";
    private const int Steps = 10, StepsToNothing = 20;

    private static readonly string[] s_unclipped = ["attn_q.weight", "attn_k.weight", "attn_qkv.weight"];

    /// <inheritdoc/>
    public override string Name => Word;

    /// <inheritdoc/>
    public override StatisticKinds? Needs => StatisticKinds.Hessian;

    /// <inheritdoc/>
    public override bool Supports(TensorTarget target) => target is GroupTarget { Zero: not GroupZero.Float, IsWhole: false };

    /// <inheritdoc/>
    public override RoundedMatrix Round(RoundingTask task, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(task);
        if (!Supports(task.Target)) throw NoTarget(task);
        GroupTarget target = (GroupTarget)task.Target;
        ActivationStatistics statistics = task.Statistics ?? throw new ArgumentException($"AWQ needs the Hessian of what '{task.Name}' is multiplied with.", nameof(task));
        if (s_unclipped.Any(name => task.Name.EndsWith(name, StringComparison.Ordinal))) return NearestGroups.Round(task, target);
        int size = target.GroupOf(task.Columns), groups = task.Columns / size;
        float[][] parts = [.. Enumerable.Range(0, groups).Select(g => Part(statistics, task, g * size, size))];
        byte[] codes = new byte[task.Weights.Length], zeros = new byte[task.Rows * groups];
        float[] scales = new float[task.Rows * groups];
        Work.For(task.Rows, new ParallelOptions { CancellationToken = cancellation }, row =>
        {
            float[] clipped = new float[size], error = new float[size];
            byte[] tried = new byte[size];
            for (int g = 0; g < groups; g++)
            {
                int start = (row * task.Columns) + (g * size), at = (row * groups) + g;
                ReadOnlySpan<float> values = task.Weights.AsSpan(start, size);
                float largest = 0;
                foreach (float value in values) largest = MathF.Max(largest, MathF.Abs(value));
                double best = double.PositiveInfinity;
                for (int step = 0; step < Steps; step++)
                {
                    float limit = largest * (1 - ((float)step / StepsToNothing));
                    for (int i = 0; i < size; i++) clipped[i] = Math.Clamp(values[i], -limit, limit);
                    (float scale, byte zero) = NearestGroups.Range(clipped, target.Bits, target.Zero == GroupZero.Middle);
                    NearestGroups.Codes(clipped, scale, zero, target.Bits, tried);
                    for (int i = 0; i < size; i++) error[i] = (scale * (tried[i] - zero)) - values[i];
                    double loss = Loss(error, parts[g]);
                    if (!(loss < best)) continue;
                    best = loss;
                    (scales[at], zeros[at]) = (scale, zero);
                    tried.CopyTo(codes, start);
                }
            }
        });
        return NearestGroups.Parts(task, target, codes, scales, zeros);
    }

    internal static AwqRounding? Read(ReadOnlySpan<string> words) => words.IsEmpty ? new AwqRounding() : null;

    // [size x size] of H, of the inputs as they are when the weights are used.
    private static float[] Part(ActivationStatistics statistics, RoundingTask task, int start, int size)
    {
        float[] part = new float[size * size];
        for (int i = 0; i < size; i++)
        {
            ReadOnlySpan<float> row = statistics.HessianRow(task.Matrix, start + i).Slice(start, size);
            HessianFactor.CheckRow(row, start + i, start);
            for (int j = 0; j < size; j++) part[(i * size) + j] = task.InputDivisors is { } divisors ? row[j] / divisors[start + i] / divisors[start + j] : row[j];
        }

        return part;
    }

    private static double Loss(ReadOnlySpan<float> error, float[] part)
    {
        double loss = 0;
        for (int i = 0; i < error.Length; i++)
            loss += (double)error[i] * Rows.Dot(part.AsSpan(i * error.Length, error.Length), error);
        return loss;
    }
}
