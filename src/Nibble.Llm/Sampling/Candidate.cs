using System.Runtime.InteropServices;

namespace Nibble.Llm.Sampling;

/// <summary>One token that may come next.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct Candidate
{
    /// <summary>The token's id.</summary>
    public int Id;

    /// <summary>The token's logit, in nats; minus infinity for a token that cannot be drawn.</summary>
    public float Logit;

    /// <summary>The token's probability among the candidates, as the last softmax left it.</summary>
    public float Probability;
}
