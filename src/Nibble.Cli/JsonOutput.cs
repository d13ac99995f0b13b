using System.Text.Encodings.Web;
using System.Text.Json;

namespace Nibble.Cli;

/// <summary>JSON on standard output, for <c>--json</c>.</summary>
internal static class JsonOutput
{
    /// <summary>Writes one indented value and a newline.</summary>
    public static void Write(Action<Utf8JsonWriter> content)
    {
        using MemoryStream buffer = new();
        using (Utf8JsonWriter writer = new(buffer, new JsonWriterOptions { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
            content(writer);
        buffer.WriteByte((byte)'\n');
        using Stream output = Console.OpenStandardOutput();
        buffer.Position = 0;
        buffer.CopyTo(output);
    }

    /// <summary>Writes a number, or its name as a string where JSON has none: NaN and infinities.</summary>
    public static void WriteFloat(this Utf8JsonWriter writer, double value)
    {
        if (double.IsFinite(value)) writer.WriteNumberValue(value);
        else writer.WriteStringValue(value.ToString(System.Globalization.CultureInfo.InvariantCulture));
    }
}
