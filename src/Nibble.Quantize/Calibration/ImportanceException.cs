namespace Nibble.Quantize.Calibration;

/// <summary>An importance matrix that cannot be read or does not fit the model: what is wrong and where. The message names the file without its folder.</summary>
public sealed class ImportanceException : Exception
{
    /// <summary>Describes a fault.</summary>
    /// <param name="fileName">The file's name without its folder.</param>
    /// <param name="reason">The thing, its value and the bound.</param>
    public ImportanceException(string fileName, string reason)
        : base($"{fileName}: {reason}")
    {
        FileName = fileName;
        Reason = reason;
    }

    /// <summary>The file's name without its folder.</summary>
    public string FileName { get; }

    /// <summary>The thing, its value and the bound, without the file.</summary>
    public string Reason { get; }
}
