namespace Nibble.Quantize.Methods;

/// <summary>A Hessian that error compensation cannot use: the message names the place, the value and what to do.</summary>
/// <param name="message">What is wrong.</param>
public sealed class HessianException(string message) : Exception(message);
