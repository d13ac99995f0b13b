using System.Globalization;
using System.Numerics;
using System.Text;

namespace Nibble.Llm.Templates;

/// <summary>Python's <c>str.format</c> with its format mini-language, on marked text.</summary>
internal static class BraceFormat
{
    public static JinjaString Format(RenderState state, JinjaString format, CallArguments arguments)
    {
        int automatic = 0;
        return new(Expand(state, format.Flat(state), arguments, ref automatic, format.IsSafe, depth: 0), format.IsSafe);
    }

    private static MarkedText Expand(RenderState state, MarkedText format, CallArguments arguments, ref int automatic, bool escape, int depth)
    {
        string text = format.Text;
        state.ChargeText(text.Length);
        MarkedTextBuilder builder = new();
        for (int i = 0; i < text.Length; i++)
        {
            char c = text[i];
            if (c is not ('{' or '}'))
            {
                builder.Append(format, i, 1);
                continue;
            }
            if (i + 1 < text.Length && text[i + 1] == c)
            {
                builder.Append(format, i, 1);
                i++;
                continue;
            }
            if (c == '}') throw state.Error("Single '}' encountered in format string");
            int end = FieldEnd(state, text, i + 1);
            state.ChargeStep();
            AppendField(state, builder, format.Slice(i + 1, end - i - 1), arguments, ref automatic, escape, depth);
            state.CheckStringLength(builder.Length);
            i = end;
        }
        return builder.ToText();
    }

    private static int FieldEnd(RenderState state, string text, int start)
    {
        int nesting = 1;
        for (int i = start; i < text.Length; i++)
        {
            if (text[i] == '{') nesting++;
            else if (text[i] == '}' && --nesting == 0) return i;
        }
        throw state.Error("expected '}' before end of string");
    }

    private static void AppendField(RenderState state, MarkedTextBuilder builder, MarkedText field, CallArguments arguments, ref int automatic, bool escape, int depth)
    {
        string text = field.Text;
        int nameEnd = 0;
        bool inBrackets = false;
        for (; nameEnd < text.Length; nameEnd++)
        {
            if (text[nameEnd] == '[') inBrackets = true;
            else if (text[nameEnd] == ']') inBrackets = false;
            else if (!inBrackets && text[nameEnd] is '!' or ':') break;
        }
        JinjaValue value = Lookup(state, text[..nameEnd], arguments, ref automatic);
        int position = nameEnd;
        if (position < text.Length && text[position] == '!')
        {
            if (position + 1 >= text.Length || (position + 2 < text.Length && text[position + 2] != ':')) throw state.Error("expected ':' after conversion specifier");
            value = text[position + 1] switch
            {
                's' => PythonText.StrValue(state, value),
                'r' or 'a' => PythonText.Repr(state, value),
                var other => throw state.Error($"Unknown conversion specifier '{other}'"),
            };
            position += 2;
        }
        MarkedText spec = MarkedText.Empty;
        if (position < text.Length && text[position] == ':')
        {
            spec = field.Slice(position + 1, text.Length - position - 1);
            if (spec.Text.Contains('{'))
            {
                if (depth > 0) throw state.Error("Max string recursion exceeded");
                spec = Expand(state, spec, arguments, ref automatic, escape: false, depth + 1);
            }
        }
        builder.Append(FormatValue(state, value, spec, escape));
    }

    private static JinjaValue Lookup(RenderState state, string path, CallArguments arguments, ref int automatic)
    {
        int end = path.AsSpan().IndexOfAny('.', '[');
        string name = end < 0 ? path : path[..end];
        JinjaValue value;
        if (name.Length == 0 || name.All(char.IsAsciiDigit))
        {
            int index = name.Length == 0 ? automatic++ : name.Length > 6 ? int.MaxValue : int.Parse(name, CultureInfo.InvariantCulture);
            if (index >= arguments.Positional.Length) throw state.Error($"Replacement index {index} out of range for positional args tuple");
            value = arguments.Positional[index];
        }
        else
        {
            value = arguments.FindNamed(name) ?? throw state.Error($"the format names '{name}', which the arguments lack");
        }
        for (int i = end < 0 ? path.Length : end; i < path.Length;)
        {
            state.ChargeNode();
            if (path[i] == '.')
            {
                int next = path.AsSpan(i + 1).IndexOfAny('.', '[');
                int stop = next < 0 ? path.Length : i + 1 + next;
                string attribute = path[(i + 1)..stop];
                value = JinjaAttributes.GetAttribute(state, value, attribute, JinjaString.Of(attribute, isLiteral: false));
                i = stop;
                continue;
            }
            int close = path.IndexOf(']', i);
            if (path[i] != '[' || close < 0) throw state.Error("Missing ']' in format string");
            string key = path[(i + 1)..close];
            value = JinjaAttributes.GetItem(state, value, key.Length is > 0 and < 9 && key.All(char.IsAsciiDigit)
                ? JinjaInt.Of(int.Parse(key, CultureInfo.InvariantCulture))
                : JinjaString.Of(key, isLiteral: false));
            i = close + 1;
        }
        return value;
    }

    private static MarkedText FormatValue(RenderState state, JinjaValue value, MarkedText specification, bool escape)
    {
        if (value is JinjaUndefined || value is not (JinjaString or JinjaInt or JinjaFloat or JinjaBool))
        {
            if (specification.Text.Length > 0 && value is not JinjaUndefined) throw state.Error($"unsupported format string passed to {value.TypeName}.__format__");
            return PythonText.Str(state, value);
        }
        if (value is JinjaBool && specification.Text.Length == 0) return PythonText.Str(state, value);
        Specification spec = Parse(state, specification);
        if (value is JinjaString text)
        {
            if (spec.Type is not ('\0' or 's')) throw state.Error($"Unknown format code '{spec.Type}' for object of type 'str'");
            if (spec.Sign != '\0') throw state.Error("Sign not allowed in string format specifier");
            if (spec.Align == '=') throw state.Error("'=' alignment not allowed in string format specifier");
            if (escape) text = Html.Escape(state, text);
            if (spec.Precision is { } most && most < text.CodePoints) text = JinjaAttributes.CodePointRange(state, text, 0, most);
            return Pad(state, spec, MarkedText.Empty, text.Flat(state), spec.Align == '\0' ? '<' : spec.Align);
        }
        (string sign, string digits) = FormatNumber(state, value, spec);
        return Pad(state, spec, MarkedText.Of(sign, isLiteral: false), MarkedText.Of(digits, isLiteral: false), spec.Align == '\0' ? (spec.ZeroPadded ? '=' : '>') : spec.Align);
    }

    private static (string Sign, string Digits) FormatNumber(RenderState state, JinjaValue value, Specification spec)
    {
        bool isFloatType = spec.Type is 'e' or 'E' or 'f' or 'F' or 'g' or 'G' or '%';
        string digits;
        bool negative;
        string prefix = "";
        if (!isFloatType && PythonOperators.TryInteger(value, out BigInteger integer))
        {
            if (spec.Precision is not null) throw state.Error("Precision not allowed in integer format specifier");
            if (spec.Type == 'c')
            {
                if (integer.Sign < 0 || integer > 0x10FFFF || !Rune.IsValid((int)integer)) throw state.Error("%c arg not in range(0x110000)");
                return ("", new Rune((int)integer).ToString());
            }
            if (spec.Type is not ('\0' or 'd' or 'n' or 'x' or 'X' or 'o' or 'b')) throw state.Error($"Unknown format code '{spec.Type}' for object of type 'int'");
            negative = integer.Sign < 0;
            digits = NumberFormat.Integer(BigInteger.Abs(integer), spec.Type);
            if (spec.Alternate && spec.Type is 'x' or 'X' or 'o' or 'b') prefix = "0" + spec.Type;
        }
        else
        {
            if (!isFloatType && spec.Type is not ('\0' or 'n')) throw state.Error($"Unknown format code '{spec.Type}' for object of type '{value.TypeName}'");
            PythonOperators.TryFloat(value, out double number);
            negative = double.IsNegative(number) && !double.IsNaN(number);
            double magnitude = Math.Abs(number);
            if (spec.Type == '\0') digits = spec.Precision is null ? PythonText.Float(magnitude) : ReprWithPrecision(magnitude, Math.Max(1, spec.Precision.Value));
            else digits = NumberFormat.Float(magnitude, spec.Type == 'n' ? 'g' : spec.Type, spec.Precision ?? 6, spec.Alternate);
        }
        if (spec.Separator != '\0') digits = NumberFormat.Group(digits, spec.Separator, spec.Type is 'x' or 'X' or 'o' or 'b' ? 4 : 3);
        string sign = negative ? "-" : spec.Sign is '+' or ' ' ? spec.Sign.ToString() : "";
        return (sign + prefix, digits);
    }

    /// <summary>A float with a precision but no type: like <c>g</c>, but with a digit after the point.</summary>
    private static string ReprWithPrecision(double magnitude, int precision)
    {
        string general = NumberFormat.Float(magnitude, 'g', precision, alternate: false);
        if (general.Contains('e') || general.Contains('.') || !double.IsFinite(magnitude)) return general;
        return general.Length >= precision ? NumberFormat.Float(magnitude, 'e', precision - 1, alternate: false) : general + ".0";
    }

    private static MarkedText Pad(RenderState state, Specification spec, MarkedText sign, MarkedText body, char align)
    {
        int missing = spec.Width - PythonText.CountCodePoints(sign.Text) - PythonText.CountCodePoints(body.Text);
        MarkedTextBuilder builder = new();
        int before = align switch { '<' => 0, '^' => missing / 2, _ => missing };
        state.ChargeText(Math.Max(0, missing));
        if (align == '=') builder.Append(sign);
        for (int i = 0; i < before; i++) builder.Append(spec.Fill);
        if (align != '=') builder.Append(sign);
        builder.Append(body);
        for (int i = before; i < missing; i++) builder.Append(spec.Fill);
        return builder.ToText();
    }

    private static Specification Parse(RenderState state, MarkedText specification)
    {
        string text = specification.Text;
        int i = 0;
        MarkedText fill = MarkedText.Of(" ", isLiteral: false);
        char align = '\0';
        int fillLength = text.Length > 0 && char.IsHighSurrogate(text[0]) ? 2 : 1;
        if (text.Length > fillLength && text[fillLength] is '<' or '>' or '=' or '^')
        {
            fill = specification.Slice(0, fillLength);
            align = text[fillLength];
            i = fillLength + 1;
        }
        else if (text.Length > 0 && text[0] is '<' or '>' or '=' or '^')
        {
            align = text[i++];
        }
        char sign = i < text.Length && text[i] is '+' or '-' or ' ' ? text[i++] : '\0';
        bool alternate = i < text.Length && text[i] == '#';
        if (alternate) i++;
        bool zero = i < text.Length && text[i] == '0';
        if (zero)
        {
            i++;
            if (align == '\0') fill = MarkedText.Of("0", isLiteral: false);
        }
        int width = Number() ?? 0;
        char separator = i < text.Length && text[i] is ',' or '_' ? text[i++] : '\0';
        int? precision = null;
        if (i < text.Length && text[i] == '.')
        {
            i++;
            precision = Number() ?? throw state.Error("Format specifier missing precision");
        }
        char type = i < text.Length ? text[i++] : '\0';
        if (i < text.Length) throw state.Error("Invalid format specifier");
        state.CheckStringLength(width);
        if (precision > NumberFormat.MaxPrecision && type is not ('\0' or 's')) throw state.LimitError($"a precision of {precision} exceeds the bound of {NumberFormat.MaxPrecision}");
        return new(fill, align, sign, alternate, zero, width, separator, precision, type);

        int? Number()
        {
            int start = i;
            while (i < text.Length && char.IsAsciiDigit(text[i])) i++;
            if (i - start > 9) throw state.LimitError("a format's width is too long");
            return i > start ? int.Parse(text.AsSpan(start, i - start), CultureInfo.InvariantCulture) : null;
        }
    }

    private sealed record Specification(MarkedText Fill, char Align, char Sign, bool Alternate, bool ZeroPadded, int Width, char Separator, int? Precision, char Type);
}
