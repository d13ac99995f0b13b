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

/// <summary>The activation of a feed-forward network.</summary>
public enum Activation
{
    /// <summary>x / (1 + e^-x).</summary>
    Silu,

    /// <summary>GELU in its tanh form: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).</summary>
    Gelu,
}

/// <summary>How attention is computed.</summary>
/// <param name="Heads">Query heads; a multiple of the layer's KV heads. Query head h reads KV head h / (Heads / KV heads).</param>
/// <param name="Scale">What the scores are multiplied by, usually 1/sqrt(key size).</param>
public readonly record struct AttentionOptions(int Heads, float Scale);

/// <summary>How tokens are sent to experts: softmax over all experts' logits, then the best are taken.</summary>
/// <param name="Used">Experts a token.</param>
/// <param name="Normalize">Whether the chosen probabilities are divided by their sum (at least 2^-14, as llama.cpp v0.5.0 clamps it).</param>
/// <param name="Scale">What the chosen probabilities are multiplied by at last.</param>
public readonly record struct Routing(int Used, bool Normalize, float Scale);
