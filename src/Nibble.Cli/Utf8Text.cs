using System.Text;

namespace Nibble.Cli;

/// <summary>Text that must be UTF-8.</summary>
internal static class Utf8Text
{
    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>Reads a file; a byte order mark at its start is left out.</summary>
    /// <param name="file">The file.</param>
    /// <exception cref="UsageException">It is not UTF-8.</exception>
    public static string Read(FileInfo file) => Read(File.ReadAllBytes(file.FullName), file.FullName).TrimStart('\uFEFF');

    /// <summary>Decodes.</summary>
    /// <param name="bytes">UTF-8.</param>
    /// <param name="source">Where it came from, for the error.</param>
    /// <exception cref="UsageException">It is not UTF-8.</exception>
    public static string Read(ReadOnlySpan<byte> bytes, string source)
    {
        try
        {
            return Strict.GetString(bytes);
        }
        catch (DecoderFallbackException error)
        {
            throw new UsageException($"{source} is not UTF-8 text: byte 0x{error.BytesUnknown?[0]:X2} at offset {error.Index} belongs to no character.");
        }
    }
}
