using Nibble.Core.Memory;

namespace Nibble.Quantize.Gradients;

/// <summary>
/// What an error of a linear layer's weights costs, to second order: for each group of neighbouring rows H = mean over tokens of s x xᵀ, where x is what the layer reads and s the mean over the group's rows of
/// the squared gradient at its output. With δ the errors of the weights, the loss in nats a token is about ½ · sum over rows r of f(r) · δ(r) H δ(r)ᵀ, where f(r) is the row's share of its group's squares.
/// </summary>
/// <remarks>
/// The gradient is a random one with the covariance that the gradient of the negative log-likelihood of a next token has, drawn from the model's own softmax: its squares are the diagonal blocks of the Fisher
/// information, and the loss is the KL divergence. What errors at one token and at another do together is left out.
/// </remarks>
public sealed unsafe class FisherStatistics : IDisposable
{
    private readonly NativeBuffer _hessians;

    internal FisherStatistics(string weight, int rows, int columns, int groups, NativeBuffer hessians, float[] rowSquares)
    {
        Weight = weight;
        Rows = rows;
        Columns = columns;
        Groups = groups;
        _hessians = hessians;
        RowSquares = rowSquares;
    }

    /// <summary>The weight's name.</summary>
    public string Weight { get; }

    /// <summary>Rows: the output dimension.</summary>
    public int Rows { get; }

    /// <summary>Columns: the input dimension.</summary>
    public int Columns { get; }

    /// <summary>Groups of as many neighbouring rows each, a divisor of <see cref="Rows"/>.</summary>
    public int Groups { get; }

    /// <summary>Rows of a group.</summary>
    public int GroupRows => Rows / Groups;

    /// <summary>[rows] mean over tokens of the squared gradient at each output.</summary>
    public float[] RowSquares { get; }

    /// <summary>A group's H, symmetric.</summary>
    /// <param name="group">0 to <see cref="Groups"/> - 1.</param>
    /// <returns>[columns x columns].</returns>
    public ReadOnlySpan<float> Hessian(int group)
    {
        if ((uint)group >= (uint)Groups) throw new ArgumentOutOfRangeException(nameof(group), $"group is {group}; there are {Groups}.");
        return _hessians.Span<float>((long)group * Columns * Columns, Columns * Columns);
    }

    /// <summary>The factor of a row: its share of its group's squares, 1 on average.</summary>
    /// <param name="row">0 to <see cref="Rows"/> - 1.</param>
    public float RowFactor(int row)
    {
        int first = row / GroupRows * GroupRows;
        double mean = 0;
        for (int i = first; i < first + GroupRows; i++)
            mean += RowSquares[i];
        mean /= GroupRows;
        return mean > 0 ? (float)(RowSquares[row] / mean) : 1;
    }

    /// <summary>Frees the Hessians.</summary>
    public void Dispose() => _hessians.Dispose();
}

/// <summary>What an error of the table of embeddings and of the output matrix costs, to second order.</summary>
/// <remarks>
/// An error δ of row v of the output matrix costs ½ · p(v) · δ A δᵀ, with A = mean over tokens of h hᵀ of what the matrix reads and p(v) = mean over tokens of f² p (1 - p), f the logit's slope (1 but for scaled and capped logits); of row v of the table of embeddings
/// ½ · n(v) · δ B δᵀ, with B = mean over tokens of g gᵀ of the gradient at the embedding and n(v) the token's share of the text. Where the two are one, both add up.
/// </remarks>
public sealed class HeadStatistics
{
    internal HeadStatistics(int width, float[] hidden, float[] input, float[] spread, float[] shares, long tokens)
    {
        Width = width;
        Hidden = hidden;
        Input = input;
        Spread = spread;
        Shares = shares;
        Tokens = tokens;
    }

    /// <summary>Columns of both matrices.</summary>
    public int Width { get; }

    /// <summary>[width x width] mean over tokens of h hᵀ.</summary>
    public float[] Hidden { get; }

    /// <summary>[width x width] mean over tokens of g gᵀ.</summary>
    public float[] Input { get; }

    /// <summary>[vocabulary] mean over tokens of f² p (1 - p).</summary>
    public float[] Spread { get; }

    /// <summary>[vocabulary] the share of the text's tokens that each id is.</summary>
    public float[] Shares { get; }

    /// <summary>Tokens of the text.</summary>
    public long Tokens { get; }
}
