namespace Nibble.Quantize.Quantization;

/// <summary>A model cannot be quantized as asked: the message names the tensor and says what to do.</summary>
/// <param name="message">What is wrong.</param>
public sealed class QuantizationException(string message) : Exception(message);
