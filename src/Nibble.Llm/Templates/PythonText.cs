using System.Globalization;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Text;

namespace Nibble.Llm.Templates;

/// <summary>Text as Python sees it: code points, white space, case, and how values print.</summary>
internal static class PythonText
{
    /// <summary>Special case mappings whose upper case has more than one code point (Unicode SpecialCasing.txt, unconditional, Latin and Armenian ligatures included).</summary>
    private static readonly Dictionary<char, string> LongUpper = new()
    {
        ['ß'] = "SS", ['ŉ'] = "ʼN", ['ǰ'] = "J̌", ['ΐ'] = "Ϊ́", ['ΰ'] = "Ϋ́", ['և'] = "ԵՒ", ['ẖ'] = "H̱", ['ẗ'] = "T̈", ['ẘ'] = "W̊",
        ['ẙ'] = "Y̊", ['ẚ'] = "Aʾ", ['ﬀ'] = "FF", ['ﬁ'] = "FI", ['ﬂ'] = "FL", ['ﬃ'] = "FFI", ['ﬄ'] = "FFL", ['ﬅ'] = "ST", ['ﬆ'] = "ST",
    };

    /// <summary>What str.isspace calls white space.</summary>
    public static bool IsSpace(char c) => char.IsWhiteSpace(c) || c is >= '\x1c' and <= '\x1f';

    /// <summary>What str.splitlines calls a line break.</summary>
    public static bool IsLineBreak(char c) => c is '\n' or '\r' or '\v' or '\f' or '\x1c' or '\x1d' or '\x1e' or '\x85' or '\u2028' or '\u2029';

    public static bool IsWordCharacter(Rune rune) => Rune.IsLetterOrDigit(rune) || rune.Value == '_' || Rune.GetUnicodeCategory(rune) is UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber;

    public static int CountCodePoints(string text)
    {
        int first = text.AsSpan().IndexOfAnyInRange('\uD800', '\uDBFF');
        if (first < 0) return text.Length;
        int count = text.Length;
        for (int i = first; i < text.Length; i++)
            if (char.IsHighSurrogate(text[i]))
                count--;
        return count;
    }

    public static string ReplaceLoneSurrogates(string text)
    {
        if (text.AsSpan().IndexOfAnyInRange('\uD800', '\uDFFF') < 0) return text;
        StringBuilder builder = new(text.Length);
        foreach (Rune rune in text.EnumerateRunes()) builder.Append(rune.ToString());
        return builder.ToString();
    }

    /// <summary>The offset in UTF-16 code units that lies <paramref name="codePoints"/> behind <paramref name="offset"/>.</summary>
    public static int Advance(string text, int offset, int codePoints)
    {
        for (; codePoints > 0; codePoints--) offset += char.IsHighSurrogate(text[offset]) ? 2 : 1;
        return offset;
    }

    public static string Upper(Rune rune) =>
        rune.IsBmp && LongUpper.TryGetValue((char)rune.Value, out string? mapped) ? mapped : Rune.ToUpperInvariant(rune).ToString();

    /// <summary>Lower case of the code point at an offset; a final sigma depends on its neighbours.</summary>
    public static string Lower(Rune rune, string text, int offset)
    {
        if (rune.Value == 'İ') return "i̇";
        if (rune.Value == 'Σ')
        {
            bool letterBefore = offset > 0 && char.IsLetter(text[offset - 1]);
            bool letterAfter = offset + 1 < text.Length && char.IsLetter(text[offset + 1]);
            return letterBefore && !letterAfter ? "ς" : "σ";
        }
        return Rune.ToLowerInvariant(rune).ToString();
    }

    /// <summary>Python's <c>str(value)</c>. Characters of strings keep their marks; everything else counts as input.</summary>
    public static MarkedText Str(RenderState state, JinjaValue value) => StrValue(state, value).Flat(state);

    public static JinjaString StrValue(RenderState state, JinjaValue value)
    {
        switch (value)
        {
            case JinjaString text:
                return text.WithSafe(state, false);
            case JinjaUndefined:
                return JinjaString.Empty;
            default:
                MarkedTextBuilder builder = new();
                Repr(state, value, builder, 0);
                return new(builder.ToText());
        }
    }

    public static JinjaString Repr(RenderState state, JinjaValue value)
    {
        MarkedTextBuilder builder = new();
        Repr(state, value, builder, 0);
        return new(builder.ToText());
    }

    private static void Repr(RenderState state, JinjaValue value, MarkedTextBuilder builder, int depth)
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        if (depth > TemplateLimits.Depth) throw state.LimitError($"a value nests deeper than the bound of {TemplateLimits.Depth}");
        state.ChargeNode();
        state.CheckStringLength(builder.Length);
        switch (value)
        {
            case JinjaNone:
                builder.Append("None", false);
                break;
            case JinjaBool flag:
                builder.Append(flag.Value ? "True" : "False", false);
                break;
            case JinjaInt number:
                builder.Append(number.Value.ToString(CultureInfo.InvariantCulture), false);
                break;
            case JinjaFloat number:
                builder.Append(Float(number.Value), false);
                break;
            case JinjaString text:
                if (text.IsSafe) builder.Append("Markup(", false);
                ReprString(state, text.Flat(state), builder);
                if (text.IsSafe) builder.Append(')', false);
                break;
            case JinjaUndefined:
                builder.Append("Undefined", false);
                break;
            case JinjaDict dict:
                builder.Append('{', false);
                ReprPairs(state, dict.Items, builder, depth);
                builder.Append('}', false);
                break;
            case JinjaNamespace space:
                builder.Append("<Namespace {", false);
                ReprPairs(state, space.Attributes.Select(pair => KeyValuePair.Create<JinjaValue, JinjaValue>(JinjaString.Of(pair.Key, false), pair.Value)), builder, depth);
                builder.Append("}>", false);
                break;
            case JinjaSequence { Kind: SequenceKind.Range } range:
                (BigInteger start, BigInteger stop, BigInteger step) = range.RangeBounds;
                builder.Append(string.Create(CultureInfo.InvariantCulture, $"range({start}, {stop}"), false);
                if (!step.IsOne) builder.Append(string.Create(CultureInfo.InvariantCulture, $", {step}"), false);
                builder.Append(')', false);
                break;
            case JinjaSequence sequence when sequence.HasLength:
                (string open, string close) = sequence.Kind switch
                {
                    SequenceKind.List => ("[", "]"),
                    SequenceKind.Tuple => ("(", sequence.Items.Length == 1 ? ",)" : ")"),
                    _ => ($"{sequence.TypeName}([", "])"),
                };
                builder.Append(open, false);
                for (int i = 0; i < sequence.Items.Length; i++)
                {
                    if (i > 0) builder.Append(", ", false);
                    Repr(state, sequence.Items[i], builder, depth + 1);
                }
                builder.Append(close, false);
                break;
            case JinjaMacro macro:
                builder.Append($"<Macro '{macro.Name}'>", false);
                break;
            case JinjaLoop loop:
                builder.Append(string.Create(CultureInfo.InvariantCulture, $"<LoopContext {loop.Index + 1}/{loop.Items.Length}>"), false);
                break;
            case JinjaFunction function:
                builder.Append($"<function {function.Name}>", false);
                break;
            default:
                builder.Append($"<{value.TypeName} object>", false);
                break;
        }
    }

    private static void ReprPairs(RenderState state, IEnumerable<KeyValuePair<JinjaValue, JinjaValue>> pairs, MarkedTextBuilder builder, int depth)
    {
        bool first = true;
        foreach ((JinjaValue key, JinjaValue item) in pairs)
        {
            if (!first) builder.Append(", ", false);
            first = false;
            Repr(state, key, builder, depth + 1);
            builder.Append(": ", false);
            Repr(state, item, builder, depth + 1);
        }
    }

    private static void ReprString(RenderState state, MarkedText text, MarkedTextBuilder builder)
    {
        state.ChargeText(text.Text.Length);
        char quote = text.Text.Contains('\'') && !text.Text.Contains('"') ? '"' : '\'';
        builder.Append(quote, false);
        for (int i = 0; i < text.Text.Length;)
        {
            Rune.DecodeFromUtf16(text.Text.AsSpan(i), out Rune rune, out int used);
            bool literal = text.IsLiteralAt(i);
            string? escape = rune.Value switch
            {
                '\\' => @"\\",
                '\n' => @"\n",
                '\r' => @"\r",
                '\t' => @"\t",
                _ when rune.Value == quote => "\\" + quote,
                _ when IsPrintable(rune) => null,
                <= 0xFF => $@"\x{rune.Value:x2}",
                <= 0xFFFF => $@"\u{rune.Value:x4}",
                _ => $@"\U{rune.Value:x8}",
            };
            builder.Append(escape is null ? text.Text.AsSpan(i, used) : escape, literal);
            i += used;
        }
        builder.Append(quote, false);
    }

    private static bool IsPrintable(Rune rune) =>
        rune.Value == ' ' || Rune.GetUnicodeCategory(rune) is not (UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.Surrogate
            or UnicodeCategory.PrivateUse or UnicodeCategory.OtherNotAssigned or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator or UnicodeCategory.SpaceSeparator);

    /// <summary>Python's repr of a float: the shortest digits that read back, an exponent below 1e-4 and from 1e16.</summary>
    public static string Float(double value)
    {
        if (double.IsNaN(value)) return "nan";
        if (double.IsInfinity(value)) return value > 0 ? "inf" : "-inf";
        string shortest = value.ToString("R", CultureInfo.InvariantCulture);
        string sign = "";
        if (shortest[0] == '-') (sign, shortest) = ("-", shortest[1..]);
        int exponent = 0;
        int e = shortest.IndexOf('E');
        if (e >= 0) (exponent, shortest) = (int.Parse(shortest[(e + 1)..], CultureInfo.InvariantCulture), shortest[..e]);
        int point = shortest.IndexOf('.');
        string all = point < 0 ? shortest : shortest.Remove(point, 1);
        exponent += point < 0 ? shortest.Length : point;
        string significant = all.TrimStart('0');
        if (significant.Length == 0) return sign + "0.0";
        exponent -= all.Length - significant.Length;
        significant = significant.TrimEnd('0');
        // The value is 0.significant times ten to the exponent.
        int scientific = exponent - 1;
        if (scientific is < -4 or >= 16)
        {
            string mantissa = significant.Length == 1 ? significant : $"{significant[0]}.{significant[1..]}";
            return string.Create(CultureInfo.InvariantCulture, $"{sign}{mantissa}e{(scientific < 0 ? '-' : '+')}{Math.Abs(scientific):00}");
        }
        if (exponent <= 0) return $"{sign}0.{new string('0', -exponent)}{significant}";
        if (significant.Length <= exponent) return $"{sign}{significant.PadRight(exponent, '0')}.0";
        return $"{sign}{significant[..exponent]}.{significant[exponent..]}";
    }
}
