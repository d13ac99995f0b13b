namespace Nibble.Quantize.Calibration;

/// <summary>Calibration cannot go on: the activations cannot be used, or a file of statistics is damaged.</summary>
/// <param name="message">The thing, its value and the bound.</param>
public sealed class CalibrationException(string message) : Exception(message);
