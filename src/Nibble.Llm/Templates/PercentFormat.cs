using System.Numerics;
using System.Text;

namespace Nibble.Llm.Templates;

/// <summary>Python's <c>format % values</c>. The format's characters keep their marks, and so do those of inserted strings.</summary>
internal static class PercentFormat
{
    public static JinjaString Format(RenderState state, JinjaString format, JinjaValue values)
    {
        PythonOperators.RejectUndefined(state, values is JinjaUndefined ? JinjaSequence.Tuple() : values);
        MarkedText text = format.Flat(state);
        state.ChargeText(text.Text.Length);
        JinjaValue[] items = values is JinjaSequence { Kind: SequenceKind.Tuple } tuple ? tuple.Items : [values];
        int used = 0;
        bool byName = false;
        MarkedTextBuilder builder = new();
        for (int i = 0; i < text.Text.Length;)
        {
            int percent = text.Text.IndexOf('%', i);
            if (percent < 0) percent = text.Text.Length;
            builder.Append(text, i, percent - i);
            if (percent == text.Text.Length) break;
            i = percent + 1;
            Specification spec = Parse(state, text, ref i, Next, values, ref byName);
            state.ChargeNode();
            if (spec.Type == '%') builder.Append('%', text.IsLiteralAt(percent));
            else Insert(state, builder, spec, spec.Name is null ? Next() : ByName(spec.Name), format.IsSafe);
            state.CheckStringLength(builder.Length);
        }
        // Python lets anything with an index that is no tuple or string go unused: it might have been read by name.
        bool mayGoUnused = byName || values is JinjaDict or JinjaUndefined or JinjaSequence { Kind: SequenceKind.List or SequenceKind.Range };
        if (used < items.Length && !mayGoUnused) throw state.Error("not all arguments converted during string formatting");
        return new(builder.ToText(), format.IsSafe);

        JinjaValue Next() => used < items.Length ? items[used++] : throw state.Error("not enough arguments for format string");

        JinjaValue ByName(string name) => values is JinjaDict dict && dict.Items.TryGetValue(JinjaString.Of(name, isLiteral: false), out JinjaValue? value)
            ? value
            : throw state.Error(values is JinjaDict ? $"the format names '{name}', which the values lack" : "format requires a mapping");
    }

    private static Specification Parse(RenderState state, MarkedText format, ref int i, Func<JinjaValue> next, JinjaValue values, ref bool byName)
    {
        string text = format.Text;
        Specification spec = new();
        if (i < text.Length && text[i] == '(')
        {
            int close = text.IndexOf(')', i);
            if (close < 0) throw state.Error("incomplete format key");
            spec.Name = text[(i + 1)..close];
            byName = true;
            i = close + 1;
        }
        for (; i < text.Length && text[i] is '-' or '+' or ' ' or '#' or '0'; i++) spec.Flags += text[i];
        spec.Width = Number(ref i) ?? 0;
        if (spec.Width < 0) (spec.Flags, spec.Width) = (spec.Flags + "-", -spec.Width);
        if (i < text.Length && text[i] == '.')
        {
            i++;
            spec.Precision = Math.Max(0, Number(ref i) ?? 0);
        }
        while (i < text.Length && text[i] is 'h' or 'l' or 'L') i++;
        if (i >= text.Length) throw state.Error("incomplete format");
        spec.Type = text[i++];
        if (spec.Precision > NumberFormat.MaxPrecision) throw state.LimitError($"a precision of {spec.Precision} exceeds the bound of {NumberFormat.MaxPrecision}");
        state.CheckStringLength(spec.Width);
        return spec;

        int? Number(ref int i)
        {
            if (i < text.Length && text[i] == '*')
            {
                i++;
                return JinjaArguments.Int(state, next(), 0, "*");
            }
            int start = i;
            while (i < text.Length && char.IsAsciiDigit(text[i])) i++;
            if (i - start > 9) throw state.LimitError("a format's width is too long");
            return i > start ? int.Parse(text.AsSpan(start, i - start), System.Globalization.CultureInfo.InvariantCulture) : null;
        }
    }

    private static void Insert(RenderState state, MarkedTextBuilder builder, Specification spec, JinjaValue value, bool escape)
    {
        bool left = spec.Flags.Contains('-');
        MarkedText body;
        switch (spec.Type)
        {
            case 's' or 'r' or 'a':
                JinjaString text = spec.Type == 's' ? value as JinjaString ?? PythonText.StrValue(state, value) : PythonText.Repr(state, value);
                if (escape) text = Html.Escape(state, text);
                if (spec.Precision is { } most && most < text.CodePoints) text = JinjaAttributes.CodePointRange(state, text, 0, most);
                body = text.Flat(state);
                break;
            case 'c':
                PythonOperators.RejectUndefined(state, value);
                if (value is JinjaString { CodePoints: 1 } character) body = character.Flat(state);
                else if (PythonOperators.TryInteger(value, out BigInteger code) && code.Sign >= 0 && code <= 0x10FFFF && Rune.IsValid((int)code)) body = MarkedText.Of(new Rune((int)code).ToString(), isLiteral: false);
                else throw state.Error("%c requires int or char");
                break;
            default:
                body = MarkedText.Of(FormatNumber(state, spec, value, left), isLiteral: false);
                break;
        }
        int missing = spec.Width - PythonText.CountCodePoints(body.Text);
        state.ChargeText(Math.Max(0, missing));
        if (!left) builder.Append(' ', missing, false);
        builder.Append(body);
        if (left) builder.Append(' ', missing, false);
    }

    private static string FormatNumber(RenderState state, Specification spec, JinjaValue value, bool left)
    {
        PythonOperators.RejectUndefined(state, value);
        string digits;
        bool negative;
        bool alternate = spec.Flags.Contains('#');
        string prefix = "";
        if (spec.Type is 'd' or 'i' or 'u' or 'x' or 'X' or 'o')
        {
            if (!PythonOperators.TryInteger(value, out BigInteger integer))
            {
                if (value is not JinjaFloat { Value: var real } || spec.Type is 'x' or 'X' or 'o' || !double.IsFinite(real))
                    throw state.Error($"%{spec.Type} format: a real number is required, not {value.TypeName}");
                integer = new BigInteger(Math.Truncate(real));
            }
            negative = integer.Sign < 0;
            digits = NumberFormat.Integer(BigInteger.Abs(integer), spec.Type).PadLeft(spec.Precision ?? 0, '0');
            if (alternate) prefix = spec.Type switch { 'x' => "0x", 'X' => "0X", 'o' => "0o", _ => "" };
        }
        else if (spec.Type is 'f' or 'F' or 'e' or 'E' or 'g' or 'G')
        {
            if (!PythonOperators.TryFloat(value, out double number)) throw state.Error($"must be real number, not {value.TypeName}");
            negative = double.IsNegative(number) && !double.IsNaN(number);
            digits = NumberFormat.Float(Math.Abs(number), spec.Type, spec.Precision ?? 6, alternate);
        }
        else
        {
            throw state.Error($"unsupported format character '{spec.Type}'");
        }
        string sign = negative ? "-" : spec.Flags.Contains('+') ? "+" : spec.Flags.Contains(' ') ? " " : "";
        if (spec.Flags.Contains('0') && !left) digits = digits.PadLeft(Math.Max(0, spec.Width - sign.Length - prefix.Length), '0');
        return sign + prefix + digits;
    }

    private sealed class Specification
    {
        public string? Name { get; set; }

        public string Flags { get; set; } = "";

        public int Width { get; set; }

        public int? Precision { get; set; }

        public char Type { get; set; }
    }
}
