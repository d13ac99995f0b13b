using System.Globalization;
using System.Text;

namespace Nibble.Llm.Templates;

/// <summary>C's strftime in the C locale on the rendering's local time, as Python's datetime.strftime gives it on Linux.</summary>
internal static class Strftime
{
    private static readonly Dictionary<char, Func<DateTimeOffset, string>> Codes = new()
    {
        ['a'] = now => now.ToString("ddd", CultureInfo.InvariantCulture),
        ['A'] = now => now.ToString("dddd", CultureInfo.InvariantCulture),
        ['b'] = now => now.ToString("MMM", CultureInfo.InvariantCulture),
        ['h'] = now => now.ToString("MMM", CultureInfo.InvariantCulture),
        ['B'] = now => now.ToString("MMMM", CultureInfo.InvariantCulture),
        ['c'] = now => Expand("%a %b %e %H:%M:%S %Y", now),
        ['C'] = now => Pad(now.Year / 100, 2),
        ['d'] = now => Pad(now.Day, 2),
        ['D'] = now => Expand("%m/%d/%y", now),
        ['e'] = now => Pad(now.Day, 2, ' '),
        ['f'] = now => Pad((int)(now.Ticks % TimeSpan.TicksPerSecond / 10), 6),
        ['F'] = now => Expand("%Y-%m-%d", now),
        ['g'] = now => Pad(ISOWeek.GetYear(now.DateTime) % 100, 2),
        ['G'] = now => Pad(ISOWeek.GetYear(now.DateTime), 4),
        ['H'] = now => Pad(now.Hour, 2),
        ['I'] = now => Pad((now.Hour + 11) % 12 + 1, 2),
        ['j'] = now => Pad(now.DayOfYear, 3),
        ['k'] = now => Pad(now.Hour, 2, ' '),
        ['l'] = now => Pad((now.Hour + 11) % 12 + 1, 2, ' '),
        ['m'] = now => Pad(now.Month, 2),
        ['M'] = now => Pad(now.Minute, 2),
        ['n'] = _ => "\n",
        ['p'] = now => now.Hour < 12 ? "AM" : "PM",
        ['P'] = now => now.Hour < 12 ? "am" : "pm",
        ['r'] = now => Expand("%I:%M:%S %p", now),
        ['R'] = now => Expand("%H:%M", now),
        ['s'] = now => now.ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture),
        ['S'] = now => Pad(now.Second, 2),
        ['t'] = _ => "\t",
        ['T'] = now => Expand("%H:%M:%S", now),
        ['u'] = now => Pad(((int)now.DayOfWeek + 6) % 7 + 1, 1),
        ['U'] = now => Pad((now.DayOfYear + 6 - (int)now.DayOfWeek) / 7, 2),
        ['V'] = now => Pad(ISOWeek.GetWeekOfYear(now.DateTime), 2),
        ['w'] = now => Pad((int)now.DayOfWeek, 1),
        ['W'] = now => Pad((now.DayOfYear + 6 - ((int)now.DayOfWeek + 6) % 7) / 7, 2),
        ['x'] = now => Expand("%m/%d/%y", now),
        ['X'] = now => Expand("%H:%M:%S", now),
        ['y'] = now => Pad(now.Year % 100, 2),
        ['Y'] = now => now.Year.ToString(CultureInfo.InvariantCulture),
        // The time that transformers formats has no zone, so both of these are empty.
        ['z'] = _ => "",
        ['Z'] = _ => "",
        ['%'] = _ => "%",
    };

    public static string Format(RenderState state, string format)
    {
        state.ChargeText((long)format.Length * 8);
        return Expand(format, state.Now);
    }

    private static string Expand(string format, DateTimeOffset now)
    {
        StringBuilder builder = new(format.Length * 2);
        for (int i = 0; i < format.Length; i++)
        {
            if (format[i] != '%')
            {
                builder.Append(format[i]);
                continue;
            }
            // glibc's flags: no padding, blanks, zeros, upper case.
            int code = i + 1;
            char flag = code < format.Length && format[code] is '-' or '_' or '0' or '^' or '#' ? format[code++] : '\0';
            if (code >= format.Length || !Codes.TryGetValue(format[code], out Func<DateTimeOffset, string>? expand))
            {
                builder.Append('%');
                continue;
            }
            string text = expand(now);
            builder.Append(flag switch
            {
                '-' => Unpadded(text),
                '_' => Unpadded(text).PadLeft(text.Length),
                '0' => text.Replace(' ', '0'),
                '^' => text.ToUpperInvariant(),
                '#' => format[code] is 'p' ? text.ToLowerInvariant() : text.ToUpperInvariant(),
                _ => text,
            });
            i = code;
        }
        return builder.ToString();
    }

    private static string Unpadded(string text)
    {
        if (text.Any(c => c != ' ' && !char.IsAsciiDigit(c))) return text;
        string trimmed = text.TrimStart('0', ' ');
        return trimmed.Length == 0 && text.Length > 0 ? "0" : trimmed;
    }

    private static string Pad(int value, int width, char padding = '0') => value.ToString(CultureInfo.InvariantCulture).PadLeft(width, padding);
}
