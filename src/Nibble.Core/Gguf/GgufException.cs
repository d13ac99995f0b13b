using System.Text;

namespace Nibble.Core.Gguf;

/// <summary>A GGUF file that cannot be used: what is wrong and where. The message names the file without its folder, so that it may be shown to a remote client.</summary>
public sealed class GgufException : Exception
{
    /// <summary>Describes a fault of a file.</summary>
    /// <param name="fileName">The file's name without its folder.</param>
    /// <param name="offset">Bytes from the file's start to the faulty thing.</param>
    /// <param name="reason">The thing, its value and the bound.</param>
    public GgufException(string fileName, long offset, string reason)
        : base($"{fileName}, offset {offset}: {reason}")
    {
        FileName = fileName;
        Offset = offset;
        Reason = reason;
    }

    /// <summary>The file's name without its folder.</summary>
    public string FileName { get; }

    /// <summary>Bytes from the file's start to the faulty thing.</summary>
    public long Offset { get; }

    /// <summary>The thing, its value and the bound, without file and offset.</summary>
    public string Reason { get; }

    /// <summary>A text from a file, fit for a message: quoted, control characters replaced, at most 100 characters.</summary>
    internal static string Quote(ReadOnlySpan<byte> utf8) => Quote(Encoding.UTF8.GetString(utf8[..Math.Min(utf8.Length, 400)]));

    /// <summary>A text from a file, fit for a message: quoted, control characters replaced, at most 100 characters.</summary>
    internal static string Quote(string text)
    {
        StringBuilder quoted = new("'");
        foreach (char c in text.AsSpan(0, Math.Min(text.Length, 100)))
            quoted.Append(char.IsControl(c) ? '\uFFFD' : c);
        return quoted.Append(text.Length > 100 ? "...'" : "'").ToString();
    }
}
