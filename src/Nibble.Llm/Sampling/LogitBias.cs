namespace Nibble.Llm.Sampling;

/// <summary>A number added to the logit of a token.</summary>
/// <param name="Id">The token's id.</param>
/// <param name="Bias">What is added, in nats; minus infinity forbids the token.</param>
public readonly record struct LogitBias(int Id, float Bias);
