using System.Collections.Frozen;
using System.Globalization;
using System.Numerics;
using System.Text;

namespace Nibble.Llm.Templates;

/// <summary>The filters of jinja2 3.1 that work on single values; those on sequences are in <see cref="JinjaSequenceFilters"/>.</summary>
internal static class JinjaFilters
{
    private static readonly FrozenDictionary<string, Native> Table = JinjaSequenceFilters.Natives.Concat(
    [
        new("abs", "", Abs),
        new("attr", "name", (state, value, arguments) => JinjaAttributes.GetAttribute(state, value, PythonText.Str(state, arguments[0]!).Text, JinjaString.Empty)),
        new("capitalize", "", (state, value, _) => JinjaStringMethods.Invoke(state, value, "capitalize")),
        new("center", "width?", (state, value, arguments) => JinjaStringMethods.Invoke(state, value, "center", arguments[0] ?? JinjaInt.Of(80))),
        new("default", "default_value? boolean?", Default),
        new("d", "default_value? boolean?", Default),
        new("e", "", (state, value, _) => Html.Escape(state, Soft(state, value))),
        new("escape", "", (state, value, _) => Html.Escape(state, Soft(state, value))),
        new("forceescape", "", (state, value, _) => Html.Escape(state, Soft(state, value), force: true)),
        new("float", "default?", ToFloat),
        new("format", FormatFilter),
        new("indent", "width? first? blank?", Indent),
        new("int", "default? base?", ToInt),
        new("items", "", Items),
        new("lower", "", (state, value, _) => JinjaStringMethods.Invoke(state, value, "lower")),
        new("replace", "old new count?", (state, value, arguments) => JinjaStringMethods.Replace(
            state,
            PythonText.StrValue(state, value),
            PythonText.StrValue(state, arguments[0]!),
            PythonText.StrValue(state, arguments[1]!),
            arguments[2] is null or JinjaNone ? -1 : JinjaArguments.Int(state, arguments[2], -1, "count"))),
        new("round", "precision? method?", Round),
        new("safe", "", (state, value, _) => Soft(state, value).WithSafe(state, true)),
        new("string", "", (state, value, _) => Soft(state, value)),
        new("title", "", Title),
        new("tojson", "ensure_ascii? indent? separators? sort_keys?", ToJson),
        new("trim", "chars?", (state, value, arguments) => JinjaStringMethods.Strip(state, Soft(state, value), arguments[0], left: true, right: true)),
        new("truncate", "length? killwords? end? leeway?", Truncate),
        new("upper", "", (state, value, _) => JinjaStringMethods.Invoke(state, value, "upper")),
        new("urlencode", "", UrlEncode),
        new("wordcount", "", WordCount),
    ]).ToFrozenDictionary(native => native.Name, StringComparer.Ordinal);

    public static bool Exists(string name) => Table.ContainsKey(name);

    public static JinjaValue Apply(RenderState state, string name, JinjaValue value, CallArguments arguments)
    {
        state.ChargeStep();
        if (!Table.TryGetValue(name, out Native? native)) throw state.Error($"no filter named '{name}'");
        return native.Invoke(state, value, arguments);
    }

    /// <summary>A string as it is, anything else as Python's str prints it.</summary>
    private static JinjaString Soft(RenderState state, JinjaValue value) => value as JinjaString ?? PythonText.StrValue(state, value);

    private static JinjaValue Abs(RenderState state, JinjaValue value, JinjaValue?[] arguments)
    {
        PythonOperators.RejectUndefined(state, value);
        if (PythonOperators.TryInteger(value, out BigInteger integer)) return JinjaInt.Of(BigInteger.Abs(integer));
        return value is JinjaFloat number ? new JinjaFloat(Math.Abs(number.Value)) : throw state.Error($"bad operand type for abs(): '{value.TypeName}'");
    }

    private static JinjaValue Default(RenderState state, JinjaValue value, JinjaValue?[] arguments) =>
        value is JinjaUndefined || (arguments[1]?.IsTrue == true && !value.IsTrue) ? arguments[0] ?? JinjaString.Empty : value;

    private static JinjaString FormatFilter(RenderState state, JinjaValue value, CallArguments arguments)
    {
        if (arguments.Positional.Length > 0 && arguments.Named.Count > 0) throw state.Error("can't handle positional and keyword arguments at the same time");
        JinjaString format = Soft(state, value);
        if (arguments.Named.Count == 0) return PercentFormat.Format(state, format, JinjaSequence.Tuple(arguments.Positional));
        JinjaDict named = new();
        foreach ((string key, JinjaValue item) in arguments.Named) named.Items[JinjaString.Of(key, isLiteral: false)] = item;
        return PercentFormat.Format(state, format, named);
    }

    private static JinjaString Indent(RenderState state, JinjaValue value, JinjaValue?[] arguments)
    {
        PythonOperators.RejectUndefined(state, value);
        JinjaString text = value as JinjaString ?? throw state.Error($"indent needs a string, not {value.TypeName}");
        int width = arguments[0] is JinjaString ? 0 : JinjaArguments.Int(state, arguments[0], 4, "width");
        state.CheckStringLength(width);
        MarkedText indention = arguments[0] is JinjaString given ? given.Flat(state) : MarkedText.Of(new string(' ', Math.Max(0, width)), isLiteral: false);
        bool first = arguments[1]?.IsTrue ?? false;
        bool blank = arguments[2]?.IsTrue ?? false;
        List<MarkedText> lines = JinjaStringMethods.Lines(state, JinjaString.Concat(state, text, JinjaString.Of("\n", isLiteral: false)), keepEnds: false);
        MarkedTextBuilder builder = new();
        for (int i = 0; i < lines.Count; i++)
        {
            state.ChargeText((long)indention.Text.Length + lines[i].Text.Length);
            state.CheckStringLength((long)builder.Length + indention.Text.Length + lines[i].Text.Length);
            if (i > 0) builder.Append('\n', false);
            if (i == 0 ? first : blank || lines[i].Text.Length > 0) builder.Append(indention);
            builder.Append(lines[i]);
        }
        return new(builder.ToText(), text.IsSafe);
    }

    private static JinjaValue ToFloat(RenderState state, JinjaValue value, JinjaValue?[] arguments)
    {
        PythonOperators.RejectUndefined(state, value);
        JinjaValue fallback = arguments[0] ?? new JinjaFloat(0);
        if (PythonOperators.TryFloat(value, out double number)) return new JinjaFloat(number);
        return value is JinjaString text && TryParseFloat(text.Flat(state).Text, out number) ? new JinjaFloat(number) : fallback;
    }

    private static bool TryParseFloat(string text, out double number)
    {
        string digits = Trim(text);
        number = 0;
        if (!RemoveUnderscores(ref digits)) return false;
        string unsigned = digits.TrimStart('+', '-').ToLowerInvariant();
        if (digits.Length - unsigned.Length <= 1 && unsigned is "inf" or "infinity" or "nan")
        {
            number = unsigned == "nan" ? double.NaN : digits[0] == '-' ? double.NegativeInfinity : double.PositiveInfinity;
            return true;
        }
        const NumberStyles styles = NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent;
        return digits.Length < TemplateLimits.IntegerBits && double.TryParse(digits, styles, CultureInfo.InvariantCulture, out number) && unsigned.AsSpan().ContainsAnyInRange('0', '9');
    }

    private static string Trim(string text)
    {
        (int start, int end) = (0, text.Length);
        while (start < end && PythonText.IsSpace(text[start])) start++;
        while (end > start && PythonText.IsSpace(text[end - 1])) end--;
        return text[start..end];
    }

    /// <summary>Removes underscores between digits; one elsewhere makes the text no number.</summary>
    private static bool RemoveUnderscores(ref string digits)
    {
        for (int i = 0; i < digits.Length; i++)
            if (digits[i] == '_' && (i == 0 || i + 1 == digits.Length || !char.IsAsciiLetterOrDigit(digits[i - 1]) || !char.IsAsciiLetterOrDigit(digits[i + 1])))
                return false;
        digits = digits.Replace("_", "", StringComparison.Ordinal);
        return true;
    }

    private static JinjaValue ToInt(RenderState state, JinjaValue value, JinjaValue?[] arguments)
    {
        PythonOperators.RejectUndefined(state, value);
        JinjaValue fallback = arguments[0] ?? JinjaInt.Of(0);
        int numberBase = JinjaArguments.Int(state, arguments[1], 10, "base");
        if (PythonOperators.TryInteger(value, out BigInteger integer)) return JinjaInt.Of(integer);
        double number;
        if (value is JinjaString text)
        {
            string digits = text.Flat(state).Text;
            if (TryParseInteger(digits, numberBase, out integer)) return PythonOperators.Integer(state, integer);
            if (!TryParseFloat(digits, out number)) return fallback;
        }
        else if (!PythonOperators.TryFloat(value, out number))
        {
            return fallback;
        }
        if (double.IsNaN(number)) return fallback;
        if (double.IsInfinity(number)) throw state.Error("cannot convert float infinity to integer");
        return PythonOperators.Integer(state, new BigInteger(Math.Truncate(number)));
    }

    private static bool TryParseInteger(string text, int numberBase, out BigInteger integer)
    {
        integer = BigInteger.Zero;
        string digits = Trim(text);
        if (digits.Length is 0 or > TemplateLimits.IntegerBits || numberBase is 1 or < 0 or > 36) return false;
        bool negative = digits[0] == '-';
        if (digits[0] is '-' or '+') digits = digits[1..];
        int prefixed = digits.Length > 1 && digits[0] == '0' ? char.ToLowerInvariant(digits[1]) switch { 'x' => 16, 'o' => 8, 'b' => 2, _ => 0 } : 0;
        if (prefixed > 0 && (numberBase == prefixed || numberBase == 0))
        {
            digits = digits[2..];
            numberBase = prefixed;
        }
        if (digits.Length > 0 && digits[0] == '_' && prefixed > 0) digits = digits[1..];
        if (numberBase == 0) numberBase = 10;
        if (digits.Length == 0 || !RemoveUnderscores(ref digits)) return false;
        foreach (char c in digits)
        {
            int digit = char.IsDigit(c) ? (int)char.GetNumericValue(c) : char.IsAsciiLetter(c) ? char.ToLowerInvariant(c) - 'a' + 10 : 99;
            if (digit >= numberBase) return false;
            integer = (integer * numberBase) + digit;
        }
        if (negative) integer = -integer;
        return true;
    }

    private static JinjaSequence Items(RenderState state, JinjaValue value, JinjaValue?[] arguments)
    {
        if (value is JinjaUndefined) return JinjaSequence.Generator([]);
        if (value is not JinjaDict dict) throw state.Error("Can only get item pairs from a mapping.");
        state.ChargeItems(dict.Items.Count);
        return JinjaSequence.Generator(dict.Items.Select(pair => (JinjaValue)JinjaSequence.Tuple(pair.Key, pair.Value)).ToArray());
    }

    private static JinjaValue Round(RenderState state, JinjaValue value, JinjaValue?[] arguments)
    {
        PythonOperators.RejectUndefined(state, value);
        int precision = JinjaArguments.Int(state, arguments[0], 0, "precision");
        string method = arguments[1] is { } given ? PythonText.Str(state, given).Text : "common";
        if (!PythonOperators.TryFloat(value, out double number)) throw state.Error($"type {value.TypeName} doesn't define __round__ method");
        switch (method)
        {
            case "common" when value is not JinjaFloat && precision >= 0:
                return PythonOperators.TryInteger(value, out BigInteger whole) ? JinjaInt.Of(whole) : value;
            case "common" when value is not JinjaFloat:
                PythonOperators.TryInteger(value, out BigInteger integer);
                return JinjaInt.Of(RoundHalfEven(integer, BigInteger.Pow(10, Math.Min(-precision, TemplateLimits.IntegerBits))));
            case "common":
                return new JinjaFloat(RoundDecimal(number, precision));
            case "ceil" or "floor":
                double scale = Math.Pow(10, precision);
                double scaled = number * scale;
                if (!double.IsFinite(scaled)) throw state.Error("cannot convert float infinity or NaN to integer");
                return new JinjaFloat((method == "ceil" ? Math.Ceiling(scaled) : Math.Floor(scaled)) / scale);
            default:
                throw state.Error("method must be common, ceil or floor");
        }
    }

    private static BigInteger RoundHalfEven(BigInteger value, BigInteger unit)
    {
        BigInteger quotient = PythonOperators.FloorDivide(value, unit);
        BigInteger twice = (value - (quotient * unit)) * 2;
        if (twice > unit || (twice == unit && !quotient.IsEven)) quotient++;
        return quotient * unit;
    }

    /// <summary>Python's round: correctly rounded on the exact decimal value, half to even.</summary>
    private static double RoundDecimal(double value, int digits)
    {
        if (!double.IsFinite(value) || digits > 323) return value;
        if (digits < -308) return Math.CopySign(0, value);
        if (digits >= 0) return double.Parse(value.ToString("F" + digits.ToString(CultureInfo.InvariantCulture), CultureInfo.InvariantCulture), CultureInfo.InvariantCulture) is var rounded && IsTie(value, digits)
            ? Math.CopySign(TieToEven(value, digits), value)
            : rounded;
        double unit = Math.Pow(10, -digits);
        return Math.Round(value / unit, MidpointRounding.ToEven) * unit;

        static bool IsTie(double value, int digits) => digits < 20 && double.IsInteger(value * Math.Pow(2, digits + 1)) && !double.IsInteger(value * Math.Pow(2, digits));

        static double TieToEven(double value, int digits) => digits == 0 ? Math.Round(value, MidpointRounding.ToEven) : (double)Math.Round((decimal)value, Math.Min(digits, 28), MidpointRounding.ToEven);
    }

    private static JinjaString Title(RenderState state, JinjaValue value, JinjaValue?[] arguments)
    {
        JinjaString text = Soft(state, value);
        MarkedText flat = text.Flat(state);
        MarkedText upper = ((JinjaString)JinjaStringMethods.Invoke(state, text, "upper")).Flat(state);
        bool sameLength = upper.Text.Length == flat.Text.Length;
        MarkedTextBuilder builder = new();
        bool atStart = true;
        state.ChargeText(flat.Text.Length * 4L);
        for (int i = 0; i < flat.Text.Length;)
        {
            Rune.DecodeFromUtf16(flat.Text.AsSpan(i), out Rune rune, out int used);
            string mapped = !atStart ? PythonText.Lower(rune, flat.Text, i) : sameLength ? upper.Text.Substring(i, used) : PythonText.Upper(rune);
            builder.Append(mapped, flat.IsLiteralAt(i));
            atStart = rune.Value is '-' or '(' or '{' or '[' or '<' || (rune.IsBmp && PythonText.IsSpace((char)rune.Value));
            i += used;
        }
        return new(builder.ToText());
    }

    private static JinjaString ToJson(RenderState state, JinjaValue value, JinjaValue?[] arguments)
    {
        MarkedText? indent = arguments[1] switch
        {
            null or JinjaNone => null,
            JinjaString text => text.Flat(state),
            var width => MarkedText.Of(new string(' ', Math.Clamp(JinjaArguments.Int(state, width, 0, "indent"), 0, 1 << 16)), isLiteral: false),
        };
        MarkedText itemSeparator = MarkedText.Of(indent is null ? ", " : ",", isLiteral: false);
        MarkedText keySeparator = MarkedText.Of(": ", isLiteral: false);
        if (arguments[2] is { } separators and not JinjaNone)
        {
            ArraySegment<JinjaValue> pair = PythonOperators.Iterate(state, separators);
            if (pair.Count != 2) throw state.Error($"'separators' must hold 2 strings, not {pair.Count}");
            itemSeparator = JinjaArguments.Text(state, pair[0], "separators").Flat(state);
            keySeparator = JinjaArguments.Text(state, pair[1], "separators").Flat(state);
        }
        return new JinjaJson(state, arguments[0]?.IsTrue ?? false, indent, itemSeparator, keySeparator, arguments[3]?.IsTrue ?? false).Write(value);
    }

    private static JinjaValue Truncate(RenderState state, JinjaValue value, JinjaValue?[] arguments)
    {
        int length = JinjaArguments.Int(state, arguments[0], 255, "length");
        JinjaString end = arguments[2] is { } given ? JinjaArguments.Text(state, given, "end") : JinjaString.Of("...", isLiteral: false);
        int leeway = arguments[3] is null or JinjaNone ? 5 : JinjaArguments.Int(state, arguments[3], 5, "leeway");
        if (length < end.CodePoints) throw state.Error($"expected length >= {end.CodePoints}, got {length}");
        if (leeway < 0) throw state.Error($"expected leeway >= 0, got {leeway}");
        // Python measures with len before it cuts, so a short list passes as it is.
        if (((JinjaInt)Apply(state, "length", value, CallArguments.Empty)).Value <= length + (long)leeway) return value;
        JinjaString text = JinjaArguments.Text(state, value, "value");
        JinjaString kept = JinjaAttributes.CodePointRange(state, text, 0, Math.Min(text.CodePoints, length - end.CodePoints));
        if (arguments[1]?.IsTrue != true)
        {
            MarkedText flat = kept.Flat(state);
            int space = flat.Text.LastIndexOf(' ');
            if (space >= 0) kept = new(flat.Slice(0, space), kept.IsSafe);
        }
        return PythonOperators.Add(state, kept, end);
    }

    private static JinjaString UrlEncode(RenderState state, JinjaValue value, JinjaValue?[] arguments)
    {
        if (value is JinjaString or not (JinjaDict or JinjaSequence)) return Quote(Soft(state, value), "/");
        JinjaString result = JinjaString.Empty;
        IEnumerable<JinjaValue> pairs = value is JinjaDict dict ? dict.Items.Select(pair => JinjaSequence.Tuple(pair.Key, pair.Value)) : PythonOperators.Iterate(state, value);
        foreach (JinjaValue pair in pairs)
        {
            ArraySegment<JinjaValue> parts = PythonOperators.Iterate(state, pair);
            if (parts.Count != 2) throw state.Error($"urlencode needs pairs, got {parts.Count} values");
            if (result.Length > 0) result = JinjaString.Concat(state, result, JinjaString.Of("&", isLiteral: false));
            result = JinjaString.Concat(state, result, Quote(Soft(state, parts[0]), ""));
            result = JinjaString.Concat(state, result, JinjaString.Of("=", isLiteral: false));
            result = JinjaString.Concat(state, result, Quote(Soft(state, parts[1]), ""));
        }
        return result;

        JinjaString Quote(JinjaString text, string safe)
        {
            MarkedText flat = text.Flat(state);
            state.ChargeText(flat.Text.Length * 3L);
            MarkedTextBuilder builder = new();
            Span<byte> bytes = stackalloc byte[4];
            for (int i = 0; i < flat.Text.Length;)
            {
                Rune.DecodeFromUtf16(flat.Text.AsSpan(i), out Rune rune, out int used);
                bool kept = rune.IsAscii && (char.IsAsciiLetterOrDigit((char)rune.Value) || "_.-~".Contains((char)rune.Value) || safe.Contains((char)rune.Value));
                if (kept) builder.Append((char)rune.Value, flat.IsLiteralAt(i));
                else if (safe.Length == 0 && rune.Value == ' ') builder.Append('+', flat.IsLiteralAt(i));
                else
                    foreach (byte b in bytes[..rune.EncodeToUtf8(bytes)])
                        builder.Append(string.Create(CultureInfo.InvariantCulture, $"%{b:X2}"), flat.IsLiteralAt(i));
                i += used;
            }
            return new(builder.ToText());
        }
    }

    private static JinjaInt WordCount(RenderState state, JinjaValue value, JinjaValue?[] arguments)
    {
        MarkedText flat = Soft(state, value).Flat(state);
        state.ChargeText(flat.Text.Length);
        int count = 0;
        bool inside = false;
        foreach (Rune rune in flat.Text.EnumerateRunes())
        {
            bool word = PythonText.IsWordCharacter(rune);
            if (word && !inside) count++;
            inside = word;
        }
        return JinjaInt.Of(count);
    }
}
