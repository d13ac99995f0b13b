using Nibble.Core.Encodings;

namespace Nibble.Quantize.Methods;

/// <summary>
/// HQQ: integers in groups whose zeros are fractions. Each group's scale spans its range; its zero is found so that the error has few large values, by half-quadratic splitting: with q the codes and r the
/// values that they stand for, e = shrink(w − r) takes the large errors out, and zero = mean(q − (w − e) / scale). No data are needed.
/// </summary>
/// <remarks>
/// Badri and Shaji, Half-Quadratic Quantization, 2023 (mobiusml.github.io/hqq_blog); steps and constants: hqq 0.2.8, core/optimize.py. With 4 bits hqq rounds the zero that it starts from unless it is told otherwise
/// (<c>round_zero</c>). It ends in a worse optimum, with a KL 17 % higher on jargon-6m in groups of 32 and 7 % in groups of 128, so that it is not done here unless <see cref="RoundsFirstZero"/> asks for it.
/// </remarks>
public sealed class HqqRounding : RoundingMethod
{
    internal const string Word = "hqq";
    private const string RoundWord = "round-zero";

    // shrink(x) = sign(x) max(0, |x| − |x|^(Power − 1) / beta); beta grows by Growth a round.
    private const int MostRounds = 20;
    private const float Power = 0.7f, FirstBeta = 10, Growth = 1.01f, MostInverseScale = 2e4f;

    // What zeros stay below, so that float16 holds them: values that lie together far from 0 share fewer codes then.
    private const float MostZero = 65000;

    /// <summary>Whether the zero that the search starts from is rounded to a whole number, as hqq does by default with 4 bits; zeros are then hqq's.</summary>
    public bool RoundsFirstZero { get; init; }

    /// <inheritdoc/>
    public override string Name => RoundsFirstZero ? $"{Word}:{RoundWord}" : Word;

    /// <inheritdoc/>
    public override bool Supports(TensorTarget target) => target is GroupTarget { Zero: GroupZero.Float, IsWhole: false };

    /// <inheritdoc/>
    public override RoundedMatrix Round(RoundingTask task, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(task);
        if (!Supports(task.Target)) throw NoTarget(task);
        GroupTarget target = (GroupTarget)task.Target;
        int size = target.GroupOf(task.Columns), groups = task.Weights.Length / size, highest = (1 << target.Bits) - 1;
        float[] inverses = new float[groups], zeros = new float[groups], tried = new float[groups];
        double[] errors = new double[groups];
        Work.For(groups, g =>
        {
            ReadOnlySpan<float> values = task.Weights.AsSpan(g * size, size);
            float low = values[0], high = values[0];
            foreach (float value in values) (low, high) = (MathF.Min(low, value), MathF.Max(high, value));
            inverses[g] = high > low ? MathF.Min(MathF.Min(highest / (high - low), MostInverseScale), MostZero / MathF.Abs(low)) : Same(low);
            zeros[g] = -low * inverses[g];
            if (RoundsFirstZero) zeros[g] = MathF.Round(zeros[g]);
        });

        // All groups stop together, when the mean error of the matrix no longer falls.
        float beta = FirstBeta;
        double best = double.PositiveInfinity;
        for (int round = 0; round < MostRounds; round++)
        {
            cancellation.ThrowIfCancellationRequested();
            float own = beta;
            Work.For(groups, g => (tried[g], errors[g]) = Step(task.Weights.AsSpan(g * size, size), inverses[g], zeros[g], highest, own));
            double error = errors.Sum();
            tried.CopyTo(zeros, 0);
            if (!(error < best)) break;
            best = error;
            beta *= Growth;
        }

        float[] scales = new float[groups];
        byte[] codes = new byte[task.Weights.Length];
        Work.For(groups, g =>
        {
            // What a reader will find is what codes are chosen by.
            (float scale, float zero) = ((float)(Half)(1 / inverses[g]), (float)(Half)zeros[g]);
            (scales[g], zeros[g]) = (scale, zero);
            for (int i = g * size; i < (g + 1) * size; i++)
                codes[i] = (byte)Math.Clamp(MathF.Round((scale == 0 ? 0 : task.Weights[i] / scale) + zero), 0, highest);
        });
        byte[] packed = new byte[(long)codes.Length * target.Bits / 8];
        CodeBits.Pack(codes, target.Bits, packed);
        return new RoundedMatrix(new Dictionary<EncodedPart, byte[]> { [EncodedPart.Codes] = packed, [EncodedPart.Scales] = NearestGroups.Halves(scales), [EncodedPart.Zeros] = NearestGroups.Halves(zeros) });
    }

    internal static HqqRounding? Read(ReadOnlySpan<string> words) => words switch
    {
        [] => new HqqRounding(),
        [RoundWord] => new HqqRounding { RoundsFirstZero = true },
        _ => null,
    };

    // A group of one value: its magnitude is the scale, so that a code off the zero by one stands for it; what float16 rounds to 0 is 0.
    private static float Same(float value) => (Half)value == (Half)0 ? 1 : 1 / MathF.Abs(value);

    // The zero after a round, and the sum of |w − r| that the zero before it gave.
    private static (float Zero, double Error) Step(ReadOnlySpan<float> values, float inverse, float zero, int highest, float beta)
    {
        double sum = 0, error = 0;
        foreach (float value in values)
        {
            float code = Math.Clamp(MathF.Round((value * inverse) + zero), 0, highest), difference = value - ((code - zero) / inverse), magnitude = MathF.Abs(difference);
            error += magnitude;
            float shrunk = magnitude == 0 ? 0 : MathF.Max(0, magnitude - (MathF.Pow(magnitude, Power - 1) / beta));
            sum += code - ((value - MathF.CopySign(shrunk, difference)) * inverse);
        }

        return ((float)(sum / values.Length), error);
    }
}
