using System.Globalization;
using System.Text.Json;

namespace Nibble.Cli.Bench;

/// <summary>Writes the values of a result's fields.</summary>
internal static class FieldValues
{
    /// <summary>As JSON: a boolean, whole number, number with six digits behind the point, string or null.</summary>
    public static void Write(Utf8JsonWriter writer, object? value)
    {
        switch (value)
        {
            case bool flag:
                writer.WriteBooleanValue(flag);
                break;
            case long whole:
                writer.WriteNumberValue(whole);
                break;
            case double number:
                writer.WriteNumberValue(Math.Round(number, 6));
                break;
            case string text:
                writer.WriteStringValue(text);
                break;
            default:
                writer.WriteNullValue();
                break;
        }
    }

    /// <summary>As plain text; empty where there is none.</summary>
    public static string Text(object? value) => value switch
    {
        null => string.Empty,
        bool flag => flag ? "1" : "0",
        double number => number.ToString("F6", CultureInfo.InvariantCulture),
        _ => Convert.ToString(value, CultureInfo.InvariantCulture)!,
    };
}
