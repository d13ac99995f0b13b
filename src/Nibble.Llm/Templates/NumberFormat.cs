using System.Globalization;
using System.Numerics;

namespace Nibble.Llm.Templates;

/// <summary>Numbers in the notations that Python's two format languages share.</summary>
internal static class NumberFormat
{
    public const int MaxPrecision = 1000;

    /// <summary>The digits of a magnitude in the notation of <c>d</c>, <c>x</c>, <c>X</c>, <c>o</c> or <c>b</c>.</summary>
    public static string Integer(BigInteger magnitude, char type) => type switch
    {
        'x' => Hex(magnitude).ToLowerInvariant(),
        'X' => Hex(magnitude).ToUpperInvariant(),
        'o' => InBase(magnitude, 3),
        'b' => InBase(magnitude, 1),
        _ => magnitude.ToString(CultureInfo.InvariantCulture),
    };

    /// <summary>A magnitude in the notation of <c>f</c>, <c>e</c>, <c>g</c> or <c>%</c>, upper case where the type is.</summary>
    public static string Float(double magnitude, char type, int precision, bool alternate)
    {
        string text = char.ToLowerInvariant(type) switch
        {
            _ when double.IsNaN(magnitude) => "nan",
            _ when double.IsInfinity(magnitude) => "inf",
            'e' => Exponent(magnitude, precision),
            'g' => General(magnitude, precision, alternate),
            '%' => Fixed(magnitude * 100, precision) + "%",
            _ => Fixed(magnitude, precision),
        };
        if (alternate && precision == 0 && char.ToLowerInvariant(type) == 'f') text += ".";
        return char.IsUpper(type) ? text.ToUpperInvariant() : text;
    }

    /// <summary>Puts a separator between groups of three digits before the point.</summary>
    public static string Group(string digits, char separator, int size)
    {
        int end = 0;
        while (end < digits.Length && char.IsAsciiHexDigit(digits[end])) end++;
        for (int at = end - size; at > 0; at -= size) digits = digits.Insert(at, separator.ToString());
        return digits;
    }

    // .NET rounds a tie away from zero in its exact decimal expansion; Python (and C) round it to even.
    private static string Fixed(double value, int precision)
    {
        if (precision < 30 && double.IsInteger(value * Math.Pow(2, precision + 1)) && !double.IsInteger(value * Math.Pow(2, precision)))
        {
            // A tie at this digit has exactly one digit more, a 5; keep the even neighbour.
            string exact = value.ToString("F" + (precision + 1).ToString(CultureInfo.InvariantCulture), CultureInfo.InvariantCulture);
            if (exact[^1] == '5')
            {
                string kept = exact[..^1].TrimEnd('.');
                if ((kept[^1] - '0') % 2 == 0) return kept;
            }
        }
        return value.ToString("F" + precision.ToString(CultureInfo.InvariantCulture), CultureInfo.InvariantCulture);
    }

    private static string Exponent(double value, int precision)
    {
        string text = value.ToString("e" + precision.ToString(CultureInfo.InvariantCulture), CultureInfo.InvariantCulture);
        int e = text.IndexOf('e');
        int exponent = int.Parse(text[(e + 1)..], CultureInfo.InvariantCulture);
        return string.Create(CultureInfo.InvariantCulture, $"{text[..e]}e{(exponent < 0 ? '-' : '+')}{Math.Abs(exponent):00}");
    }

    private static string General(double value, int precision, bool alternate)
    {
        if (precision == 0) precision = 1;
        string scientific = Exponent(value, precision - 1);
        int exponent = int.Parse(scientific[(scientific.IndexOf('e') + 1)..], CultureInfo.InvariantCulture);
        string text = exponent < -4 || exponent >= precision ? scientific : Fixed(value, precision - 1 - exponent);
        if (alternate) return text;
        int e = text.IndexOf('e');
        string mantissa = e < 0 ? text : text[..e];
        if (mantissa.Contains('.')) mantissa = mantissa.TrimEnd('0').TrimEnd('.');
        return e < 0 ? mantissa : mantissa + text[e..];
    }

    private static string Hex(BigInteger magnitude)
    {
        string text = magnitude.ToString("x", CultureInfo.InvariantCulture).TrimStart('0');
        return text.Length == 0 ? "0" : text;
    }

    private static string InBase(BigInteger magnitude, int bits)
    {
        if (magnitude.IsZero) return "0";
        List<char> digits = [];
        for (; !magnitude.IsZero; magnitude >>= bits) digits.Add((char)('0' + (int)(magnitude & ((1 << bits) - 1))));
        digits.Reverse();
        return new(digits.ToArray());
    }
}
