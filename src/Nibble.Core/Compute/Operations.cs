namespace Nibble.Core.Compute;

/// <summary>The uses of a block format that a backend is asked about.</summary>
public enum Operation
{
    /// <summary>Rows of a table: <see cref="Backend.GetRows"/>.</summary>
    GetRows,

    /// <summary>A matrix: <see cref="Backend.MatMul(Tensor, Weight, Tensor)"/>.</summary>
    MatMul,

    /// <summary>Matrices of experts: <see cref="Backend.MatMulExperts"/>.</summary>
    MatMulExperts,

    /// <summary>A vector: the gain of a norm, or a bias.</summary>
    Vector,

    /// <summary>Keys and values: <see cref="Backend.AllocateKv"/>.</summary>
    KvCache,
}

/// <summary>What is done to single values.</summary>
public enum Activation
{
    /// <summary>x.</summary>
    Identity,

    /// <summary>x / (1 + e^-x).</summary>
    Silu,

    /// <summary>GELU in its tanh form, x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), rounded to half precision as <see cref="HalfGelu"/> says.</summary>
    Gelu,

    /// <summary>max(x, 0).</summary>
    Relu,

    /// <summary>max(x, 0)^2.</summary>
    ReluSquared,

    /// <summary>1 / (1 + e^-x).</summary>
    Sigmoid,

    /// <summary>ln(1 + e^x).</summary>
    Softplus,

    /// <summary>
    /// gpt-oss' gate, which has a form with a gate only: with g = min(gate, 7) and u = clamp(up, -7, 7), g / (1 + e^(-1.702 g)) x (u + 1).
    /// </summary>
    SwigluOai,
}

/// <summary>The kinds of norm.</summary>
public enum NormKind
{
    /// <summary>x / sqrt(mean of x^2 + epsilon) (Zhang and Sennrich, arXiv 1910.07467).</summary>
    Rms,

    /// <summary>(x - mean of x) / sqrt(variance of x + epsilon) (Ba, Kiros and Hinton, arXiv 1607.06450).</summary>
    Layer,

    /// <summary>x / max(sqrt(sum of x^2), epsilon).</summary>
    Euclidean,
}

/// <summary>How a row, or each group of its columns, is normed.</summary>
/// <param name="Kind">The kind.</param>
/// <param name="Epsilon">What keeps the divisor from 0; see <see cref="NormKind"/>.</param>
/// <param name="Size">Columns that are normed together, a divisor of the columns: a head's size. 0 for the whole row.</param>
public readonly record struct NormOptions(NormKind Kind, float Epsilon, int Size = 0);

/// <summary>
/// A factor of the queries that grows with the position: 1 + <paramref name="Scale"/> ln(1 + floor((position + <paramref name="Offset"/>) / <paramref name="Interval"/>)).
/// </summary>
/// <remarks>Llama 4 and Ministral 3; formula: llama.cpp v0.5.0, llm_graph_input_attn_temp.</remarks>
/// <param name="Scale">0 for a factor of 1.</param>
/// <param name="Interval">Positions between two steps.</param>
/// <param name="Offset">Added to the position.</param>
public readonly record struct QueryTemperature(float Scale, float Interval, float Offset)
{
    /// <summary>The factor at a position.</summary>
    /// <param name="position">Position.</param>
    public float At(int position) => Scale == 0 ? 1 : 1 + (Scale * MathF.Log(MathF.Floor((position + Offset) / Interval) + 1));
}

/// <summary>How attention is computed. The window is the layer's (<see cref="KvLayer.Window"/>).</summary>
/// <param name="Heads">Query heads; a multiple of the layer's KV heads. Query head h reads KV head h / (Heads / KV heads).</param>
/// <param name="Scale">What the products of queries and keys are multiplied by, usually 1/sqrt(key size).</param>
public readonly record struct AttentionOptions(int Heads, float Scale)
{
    /// <summary>Scores become cap x tanh(score / cap); 0 for none.</summary>
    public float SoftCap { get; init; }

    /// <summary>
    /// ALiBi (Press et al., arXiv 2108.12409): the slope's exponent. Scores lose slope x distance, where head h of the largest power of two n of heads has the slope
    /// 2^(-bias (h + 1) / n), and heads past n take the slopes 2^(-bias (2 (h - n) + 1) / 2n). 0 for none.
    /// </summary>
    public float AlibiBias { get; init; }

    /// <summary>Factor of the queries.</summary>
    public QueryTemperature Temperature { get; init; }

    /// <summary>[heads] a logit each that takes its share of the softmax and adds no value; null for none.</summary>
    public Weight? Sinks { get; init; }

    /// <summary>The ALiBi slope of a head.</summary>
    /// <param name="head">Query head.</param>
    public float Slope(int head)
    {
        if (AlibiBias == 0) return 0;
        int power = 1 << int.Log2(Heads);
        return head < power
            ? MathF.Pow(2, -AlibiBias * (head + 1) / power)
            : MathF.Pow(2, -AlibiBias / 2 * ((2 * (head - power)) + 1) / power);
    }
}

/// <summary>What a router's logits are before experts are chosen.</summary>
public enum GatingFunction
{
    /// <summary>Softmax over all experts.</summary>
    Softmax,

    /// <summary>A sigmoid each.</summary>
    Sigmoid,

    /// <summary>The logits themselves choose; softmax over the chosen ones.</summary>
    SoftmaxOfChosen,

    /// <summary>sqrt(ln(1 + e^x)) each.</summary>
    SqrtSoftplus,
}

/// <summary>How tokens are sent to experts.</summary>
/// <param name="Used">Experts a token.</param>
/// <param name="Normalize">Whether the chosen weights are divided by their sum (at least 2^-14, as llama.cpp v0.5.0 clamps it).</param>
/// <param name="Scale">What the chosen weights are multiplied by at last.</param>
/// <param name="Gating">What the logits become.</param>
public readonly record struct Routing(int Used, bool Normalize, float Scale, GatingFunction Gating = GatingFunction.Softmax)
{
    /// <summary>Groups of neighbouring experts of which only the best are looked at: those with the highest sum of their two best experts. 0 or 1 for none.</summary>
    public int Groups { get; init; }

    /// <summary>Groups that are looked at.</summary>
    public int GroupsUsed { get; init; }
}
