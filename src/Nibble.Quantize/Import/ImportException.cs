namespace Nibble.Quantize.Import;

/// <summary>A checkpoint that cannot be imported: the file, the thing in it, its value, and what was expected.</summary>
public sealed class ImportException : Exception
{
    /// <summary>Describes a fault of a checkpoint.</summary>
    /// <param name="fileName">The file's name without its folder.</param>
    /// <param name="reason">The thing, its value and what was expected.</param>
    public ImportException(string fileName, string reason)
        : base($"{fileName}: {reason}")
    {
        FileName = fileName;
        Reason = reason;
    }

    /// <summary>The file's name without its folder.</summary>
    public string FileName { get; }

    /// <summary>The thing, its value and what was expected, without the file.</summary>
    public string Reason { get; }
}
