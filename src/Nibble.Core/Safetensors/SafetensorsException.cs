using Nibble.Core.Gguf;

namespace Nibble.Core.Safetensors;

/// <summary>A safetensors file that cannot be used: what is wrong and where. The message names the file without its folder.</summary>
public sealed class SafetensorsException : Exception
{
    /// <summary>Describes a fault of a file.</summary>
    /// <param name="fileName">The file's name without its folder.</param>
    /// <param name="reason">The thing, its value and the bound.</param>
    public SafetensorsException(string fileName, string reason)
        : base($"{fileName}: {reason}")
    {
        FileName = fileName;
        Reason = reason;
    }

    /// <summary>The file's name without its folder.</summary>
    public string FileName { get; }

    /// <summary>The thing, its value and the bound, without the file.</summary>
    public string Reason { get; }

    /// <summary>A text from a file, fit for a message.</summary>
    internal static string Quote(string text) => GgufException.Quote(text);
}
