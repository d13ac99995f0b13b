using System.Collections.Frozen;
using System.Globalization;
using System.Text;

namespace Nibble.Llm.Templates;

/// <summary>Python's methods of str on marked text: every character of a result keeps the mark of the character it comes from.</summary>
internal static class JinjaStringMethods
{
    public static readonly FrozenDictionary<string, Native> Table = JinjaCollectionMethods.Table(
        Method("upper", "", (state, self, _) => Map(state, self, (rune, _, _) => PythonText.Upper(rune))),
        Method("lower", "", (state, self, _) => Map(state, self, PythonText.Lower)),
        Method("casefold", "", (state, self, _) => Map(state, self, (rune, text, offset) => rune.Value is 'ß' or 'ẞ' ? "ss" : rune.Value is 'ς' or 'Σ' ? "σ" : PythonText.Lower(rune, text, offset))),
        Method("title", "", (state, self, _) => Title(state, self)),
        Method("capitalize", "", (state, self, _) => Map(state, self, (rune, text, offset) => offset == 0 ? TitleCase(rune) : PythonText.Lower(rune, text, offset))),
        Method("swapcase", "", (state, self, _) => Map(state, self, (rune, text, offset) => Rune.IsUpper(rune) ? PythonText.Lower(rune, text, offset) : PythonText.Upper(rune))),
        Method("strip", "chars? /", (state, self, arguments) => Strip(state, self, arguments[0], left: true, right: true)),
        Method("lstrip", "chars? /", (state, self, arguments) => Strip(state, self, arguments[0], left: true, right: false)),
        Method("rstrip", "chars? /", (state, self, arguments) => Strip(state, self, arguments[0], left: false, right: true)),
        Method("replace", "old new count? /", (state, self, arguments) => Replace(state, self, arguments[0]!, arguments[1]!, JinjaArguments.Int(state, arguments[2], -1, "count"))),
        Method("split", "sep? maxsplit?", (state, self, arguments) => Split(state, self, arguments[0], JinjaArguments.Int(state, arguments[1], -1, "maxsplit"), fromRight: false)),
        Method("rsplit", "sep? maxsplit?", (state, self, arguments) => Split(state, self, arguments[0], JinjaArguments.Int(state, arguments[1], -1, "maxsplit"), fromRight: true)),
        Method("splitlines", "keepends?", (state, self, arguments) => List(self, Lines(state, self, arguments[0]?.IsTrue ?? false))),
        Method("partition", "sep /", (state, self, arguments) => Partition(state, self, arguments[0]!, fromRight: false)),
        Method("rpartition", "sep /", (state, self, arguments) => Partition(state, self, arguments[0]!, fromRight: true)),
        Method("join", "iterable /", (state, self, arguments) => Join(state, self, arguments[0]!)),
        Method("startswith", "prefix start? end? /", (state, self, arguments) => Affix(state, self, arguments, (text, part) => text.StartsWith(part, StringComparison.Ordinal))),
        Method("endswith", "suffix start? end? /", (state, self, arguments) => Affix(state, self, arguments, (text, part) => text.EndsWith(part, StringComparison.Ordinal))),
        Method("removeprefix", "prefix /", (state, self, arguments) => RemoveAffix(state, self, arguments[0]!, prefix: true)),
        Method("removesuffix", "suffix /", (state, self, arguments) => RemoveAffix(state, self, arguments[0]!, prefix: false)),
        Method("find", "sub start? end? /", (state, self, arguments) => JinjaInt.Of(Find(state, self, arguments, fromRight: false))),
        Method("rfind", "sub start? end? /", (state, self, arguments) => JinjaInt.Of(Find(state, self, arguments, fromRight: true))),
        Method("index", "sub start? end? /", (state, self, arguments) => FindOrFail(state, self, arguments, fromRight: false)),
        Method("rindex", "sub start? end? /", (state, self, arguments) => FindOrFail(state, self, arguments, fromRight: true)),
        Method("count", "sub start? end? /", Count),
        Method("center", "width fillchar? /", (state, self, arguments) => Justify(state, self, arguments, left: true, right: true)),
        Method("ljust", "width fillchar? /", (state, self, arguments) => Justify(state, self, arguments, left: false, right: true)),
        Method("rjust", "width fillchar? /", (state, self, arguments) => Justify(state, self, arguments, left: true, right: false)),
        Method("zfill", "width /", ZeroFill),
        Method("expandtabs", "tabsize?", ExpandTabs),
        new Native("format", (state, self, arguments) => BraceFormat.Format(state, (JinjaString)self, arguments)),
        Method("isdigit", "", (state, self, _) => All(state, self, rune => Rune.GetNumericValue(rune) >= 0 && Rune.GetUnicodeCategory(rune) is UnicodeCategory.DecimalDigitNumber || IsSuperscriptDigit(rune))),
        Method("isdecimal", "", (state, self, _) => All(state, self, rune => Rune.GetUnicodeCategory(rune) is UnicodeCategory.DecimalDigitNumber)),
        Method("isnumeric", "", (state, self, _) => All(state, self, rune => Rune.GetNumericValue(rune) != -1)),
        Method("isalpha", "", (state, self, _) => All(state, self, Rune.IsLetter)),
        Method("isalnum", "", (state, self, _) => All(state, self, rune => Rune.IsLetter(rune) || Rune.GetNumericValue(rune) != -1)),
        Method("isspace", "", (state, self, _) => All(state, self, rune => rune.IsBmp && PythonText.IsSpace((char)rune.Value))),
        Method("isascii", "", (state, self, _) => JinjaValue.From(Ascii.IsValid(self.Flat(state).Text))),
        Method("islower", "", (state, self, _) => IsCased(state, self, upper: false)),
        Method("isupper", "", (state, self, _) => IsCased(state, self, upper: true)),
        Method("istitle", "", IsTitle),
        Method("isidentifier", "", (state, self, _) => JinjaValue.From(self.Flat(state).Text is { Length: > 0 } text && (text[0] == '_' || char.IsLetter(text[0])) && text.All(c => c == '_' || char.IsLetterOrDigit(c)))));

    private delegate JinjaValue StringBody(RenderState state, JinjaString self, JinjaValue?[] arguments);

    private delegate string RuneMap(Rune rune, string text, int offset);

    /// <summary>Calls a method without arguments on a value printed as Python's str.</summary>
    public static JinjaValue Invoke(RenderState state, JinjaValue value, string method, params JinjaValue[] arguments) =>
        Table[method].Invoke(state, value as JinjaString ?? PythonText.StrValue(state, value), new(arguments, []));

    /// <summary>Lines without, or with, their breaks.</summary>
    public static List<MarkedText> Lines(RenderState state, JinjaString self, bool keepEnds)
    {
        MarkedText flat = self.Flat(state);
        List<MarkedText> lines = [];
        for (int start = 0; start < flat.Text.Length;)
        {
            int end = start;
            while (end < flat.Text.Length && !PythonText.IsLineBreak(flat.Text[end])) end++;
            int next = end < flat.Text.Length ? end + 1 : end;
            if (end + 1 < flat.Text.Length && flat.Text[end] == '\r' && flat.Text[end + 1] == '\n') next++;
            lines.Add(flat.Slice(start, (keepEnds ? next : end) - start));
            start = next;
        }
        state.ChargeItems(lines.Count);
        return lines;
    }

    public static JinjaString Replace(RenderState state, JinjaString self, JinjaValue old, JinjaValue replacement, int count)
    {
        MarkedText text = self.Flat(state);
        MarkedText find = Argument(state, self, old, "old");
        MarkedText put = Argument(state, self, replacement, "new");
        int left = count < 0 ? int.MaxValue : count;
        MarkedTextBuilder builder = new();
        int position = 0;
        while (left-- > 0)
        {
            int at;
            if (find.Text.Length > 0) at = text.Text.IndexOf(find.Text, position, StringComparison.Ordinal);
            else at = builder.Length == 0 && position == 0 && left == (count < 0 ? int.MaxValue : count) - 1 ? 0 : NextBoundary(text.Text, position);
            if (at < 0) break;
            state.CheckStringLength((long)builder.Length + at - position + put.Text.Length);
            state.ChargeText(at - position + put.Text.Length);
            state.ChargeNode();
            builder.Append(text, position, at - position);
            builder.Append(put);
            position = at + find.Text.Length;
        }
        builder.Append(text, position, text.Text.Length - position);
        state.CheckStringLength(builder.Length);
        return new(builder.ToText(), self.IsSafe);

        static int NextBoundary(string text, int position) =>
            position >= text.Length ? -1 : position + (char.IsHighSurrogate(text[position]) ? 2 : 1);
    }

    public static JinjaString Join(RenderState state, JinjaString separator, JinjaValue items)
    {
        ArraySegment<JinjaValue> parts = PythonOperators.Iterate(state, items);
        JinjaString result = JinjaString.Empty;
        for (int i = 0; i < parts.Count; i++)
        {
            if (parts[i] is not JinjaString part)
            {
                PythonOperators.RejectUndefined(state, parts[i]);
                throw state.Error($"sequence item {i}: expected str instance, {parts[i].TypeName} found");
            }
            state.ChargeNode();
            if (separator.IsSafe) part = Html.Escape(state, part);
            if (i > 0) result = JinjaString.Concat(state, result, separator, separator.IsSafe);
            result = JinjaString.Concat(state, result, part, separator.IsSafe);
        }
        return result.WithSafe(state, separator.IsSafe);
    }

    private static Native Method(string name, string signature, StringBody body) =>
        new(name, signature, (state, self, arguments) => body(state, (JinjaString)self, arguments));

    /// <summary>The text of an argument; beside a safe string it is escaped, as markupsafe does.</summary>
    private static MarkedText Argument(RenderState state, JinjaString self, JinjaValue value, string name)
    {
        JinjaString text = JinjaArguments.Text(state, value, name);
        return (self.IsSafe ? Html.Escape(state, text) : text).Flat(state);
    }

    private static JinjaSequence List(JinjaString self, IEnumerable<MarkedText> parts) =>
        new(SequenceKind.List, parts.Select(part => (JinjaValue)new JinjaString(part, self.IsSafe)).ToArray());

    private static JinjaString Map(RenderState state, JinjaString self, RuneMap map)
    {
        MarkedText flat = self.Flat(state);
        state.ChargeText(flat.Text.Length * 4L);
        MarkedTextBuilder builder = new();
        for (int i = 0; i < flat.Text.Length;)
        {
            Rune.DecodeFromUtf16(flat.Text.AsSpan(i), out Rune rune, out int used);
            builder.Append(map(rune, flat.Text, i), flat.IsLiteralAt(i));
            i += used;
        }
        state.CheckStringLength(builder.Length);
        return new(builder.ToText(), self.IsSafe);
    }

    private static string TitleCase(Rune rune)
    {
        string upper = PythonText.Upper(rune);
        return upper.Length > 1 && !char.IsSurrogate(upper[0]) ? upper[0] + upper[1..].ToLowerInvariant() : upper;
    }

    private static JinjaString Title(RenderState state, JinjaString self)
    {
        bool afterLetter = false;
        return Map(state, self, (rune, text, offset) =>
        {
            string mapped = afterLetter ? PythonText.Lower(rune, text, offset) : TitleCase(rune);
            afterLetter = IsCasedRune(rune);
            return mapped;
        });
    }

    private static bool IsCasedRune(Rune rune) =>
        Rune.GetUnicodeCategory(rune) is UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter;

    public static JinjaString Strip(RenderState state, JinjaString self, JinjaValue? characters, bool left, bool right)
    {
        MarkedText flat = self.Flat(state);
        (int start, int end) = (0, flat.Text.Length);
        if (characters is null or JinjaNone)
        {
            while (left && start < end && PythonText.IsSpace(flat.Text[start])) start++;
            while (right && end > start && PythonText.IsSpace(flat.Text[end - 1])) end--;
        }
        else
        {
            HashSet<Rune> set = Argument(state, self, characters, "chars").Text.EnumerateRunes().ToHashSet();
            while (left && start < end && Rune.DecodeFromUtf16(flat.Text.AsSpan(start, end - start), out Rune rune, out int used) == System.Buffers.OperationStatus.Done && set.Contains(rune)) start += used;
            while (right && end > start && Rune.DecodeLastFromUtf16(flat.Text.AsSpan(start, end - start), out Rune rune, out int used) == System.Buffers.OperationStatus.Done && set.Contains(rune)) end -= used;
        }
        state.ChargeText(flat.Text.Length);
        return new(flat.Slice(start, end - start), self.IsSafe);
    }

    private static JinjaSequence Split(RenderState state, JinjaString self, JinjaValue? separator, int limit, bool fromRight)
    {
        MarkedText flat = self.Flat(state);
        state.ChargeText(flat.Text.Length * 2L);
        int left = limit < 0 ? int.MaxValue : limit;
        List<MarkedText> parts = [];
        if (separator is null or JinjaNone) SplitSpace(flat, left, fromRight, parts);
        else SplitOn(state, flat, Argument(state, self, separator, "sep").Text, left, fromRight, parts);
        if (fromRight) parts.Reverse();
        state.ChargeItems(parts.Count);
        return List(self, parts);
    }

    private static void SplitOn(RenderState state, MarkedText flat, string separator, int left, bool fromRight, List<MarkedText> parts)
    {
        if (separator.Length == 0) throw state.Error("empty separator");
        (int start, int end) = (0, flat.Text.Length);
        while (left-- > 0)
        {
            int at = fromRight
                ? flat.Text.AsSpan(0, end).LastIndexOf(separator, StringComparison.Ordinal)
                : flat.Text.IndexOf(separator, start, StringComparison.Ordinal);
            if (at < 0) break;
            if (fromRight)
            {
                parts.Add(flat.Slice(at + separator.Length, end - at - separator.Length));
                end = at;
            }
            else
            {
                parts.Add(flat.Slice(start, at - start));
                start = at + separator.Length;
            }
        }
        parts.Add(flat.Slice(start, end - start));
    }

    private static void SplitSpace(MarkedText flat, int left, bool fromRight, List<MarkedText> parts)
    {
        string text = flat.Text;
        (int start, int end) = (0, text.Length);
        while (true)
        {
            // White space at the side from which words are taken never counts; the last part keeps that of its other side
            // unless it is reached without a limit.
            if (fromRight) while (end > start && PythonText.IsSpace(text[end - 1])) end--;
            else while (start < end && PythonText.IsSpace(text[start])) start++;
            if (start == end) return;
            if (left-- == 0)
            {
                parts.Add(flat.Slice(start, end - start));
                return;
            }
            int edge = fromRight ? end : start;
            if (fromRight)
            {
                while (edge > start && !PythonText.IsSpace(text[edge - 1])) edge--;
                parts.Add(flat.Slice(edge, end - edge));
                end = edge;
            }
            else
            {
                while (edge < end && !PythonText.IsSpace(text[edge])) edge++;
                parts.Add(flat.Slice(start, edge - start));
                start = edge;
            }
        }
    }

    private static JinjaSequence Partition(RenderState state, JinjaString self, JinjaValue separator, bool fromRight)
    {
        MarkedText flat = self.Flat(state);
        state.ChargeText(flat.Text.Length);
        string find = Argument(state, self, separator, "sep").Text;
        if (find.Length == 0) throw state.Error("empty separator");
        int at = fromRight ? flat.Text.LastIndexOf(find, StringComparison.Ordinal) : flat.Text.IndexOf(find, StringComparison.Ordinal);
        if (at < 0) return fromRight ? JinjaSequence.Tuple(JinjaString.Empty, JinjaString.Empty, self) : JinjaSequence.Tuple(self, JinjaString.Empty, JinjaString.Empty);
        int after = at + find.Length;
        return JinjaSequence.Tuple(Part(0, at), Part(at, find.Length), Part(after, flat.Text.Length - after));

        JinjaString Part(int start, int length) => new(flat.Slice(start, length), self.IsSafe);
    }

    /// <summary>The part of a string that start and end name, with its first code point's index.</summary>
    private static (string Text, int Start) Window(RenderState state, JinjaString self, JinjaValue? start, JinjaValue? end)
    {
        string text = self.Flat(state).Text;
        state.ChargeText(text.Length);
        if (start is null && end is null) return (text, 0);
        // A start behind the end of the string finds nothing, not even the empty string.
        if (start is not null and not JinjaNone && JinjaArguments.Int(state, start, 0, "start") > self.CodePoints) return ("", -1);
        (int from, int to) = JinjaArguments.Range(state, start, end, self.CodePoints);
        return from > to ? ("", -1) : (JinjaAttributes.CodePointRange(state, self, from, to - from).Flat(state).Text, from);
    }

    private static JinjaValue Affix(RenderState state, JinjaString self, JinjaValue?[] arguments, Func<string, string, bool> test)
    {
        (string text, int start) = Window(state, self, arguments[1], arguments[2]);
        JinjaValue[] candidates = arguments[0] is JinjaSequence { Kind: SequenceKind.Tuple } tuple ? tuple.Items : [arguments[0]!];
        foreach (JinjaValue candidate in candidates)
        {
            string part = JinjaArguments.Text(state, candidate, "prefix or suffix").Flat(state).Text;
            if (start >= 0 && test(text, part)) return JinjaValue.True;
        }
        return JinjaValue.False;
    }

    private static JinjaString RemoveAffix(RenderState state, JinjaString self, JinjaValue affix, bool prefix)
    {
        MarkedText flat = self.Flat(state);
        string part = JinjaArguments.Text(state, affix, "prefix or suffix").Flat(state).Text;
        state.ChargeText(flat.Text.Length);
        bool found = prefix ? flat.Text.StartsWith(part, StringComparison.Ordinal) : flat.Text.EndsWith(part, StringComparison.Ordinal);
        if (!found || part.Length == 0) return self;
        return new(flat.Slice(prefix ? part.Length : 0, flat.Text.Length - part.Length), self.IsSafe);
    }

    private static int Find(RenderState state, JinjaString self, JinjaValue?[] arguments, bool fromRight)
    {
        string part = JinjaArguments.Text(state, arguments[0]!, "sub").Flat(state).Text;
        (string text, int start) = Window(state, self, arguments[1], arguments[2]);
        if (start < 0) return -1;
        int at = fromRight ? text.LastIndexOf(part, StringComparison.Ordinal) : text.IndexOf(part, StringComparison.Ordinal);
        return at < 0 ? -1 : start + PythonText.CountCodePoints(text[..at]);
    }

    private static JinjaInt FindOrFail(RenderState state, JinjaString self, JinjaValue?[] arguments, bool fromRight)
    {
        int at = Find(state, self, arguments, fromRight);
        return at >= 0 ? JinjaInt.Of(at) : throw state.Error("substring not found");
    }

    private static JinjaInt Count(RenderState state, JinjaString self, JinjaValue?[] arguments)
    {
        string part = JinjaArguments.Text(state, arguments[0]!, "sub").Flat(state).Text;
        (string text, int start) = Window(state, self, arguments[1], arguments[2]);
        if (start < 0) return JinjaInt.Of(0);
        return JinjaInt.Of(part.Length == 0 ? PythonText.CountCodePoints(text) + 1 : text.AsSpan().Count(part));
    }

    private static JinjaString Justify(RenderState state, JinjaString self, JinjaValue?[] arguments, bool left, bool right)
    {
        int width = JinjaArguments.Int(state, arguments[0], 0, "width");
        MarkedText fill = arguments[1] is { } given ? Argument(state, self, given, "fillchar") : MarkedText.Of(" ", isLiteral: false);
        if (PythonText.CountCodePoints(fill.Text) != 1) throw state.Error("The fill character must be exactly one character long");
        int missing = width - self.CodePoints;
        if (missing <= 0) return self;
        state.CheckStringLength((long)self.Length + ((long)missing * fill.Text.Length));
        state.ChargeText(width);
        // Python puts the odd blank of center to the left only where both the width and the gap are odd.
        int before = left && right ? (missing / 2) + (missing & width & 1) : left ? missing : 0;
        MarkedTextBuilder builder = new();
        for (int i = 0; i < before; i++) builder.Append(fill);
        builder.Append(self.Flat(state));
        for (int i = before; i < missing; i++) builder.Append(fill);
        return new(builder.ToText(), self.IsSafe);
    }

    private static JinjaString ZeroFill(RenderState state, JinjaString self, JinjaValue?[] arguments)
    {
        MarkedText flat = self.Flat(state);
        int missing = JinjaArguments.Int(state, arguments[0], 0, "width") - self.CodePoints;
        if (missing <= 0) return self;
        state.CheckStringLength((long)self.Length + missing);
        state.ChargeText(missing);
        int sign = flat.Text.Length > 0 && flat.Text[0] is '+' or '-' ? 1 : 0;
        MarkedTextBuilder builder = new();
        builder.Append(flat, 0, sign);
        builder.Append('0', missing, false);
        builder.Append(flat, sign, flat.Text.Length - sign);
        return new(builder.ToText(), self.IsSafe);
    }

    private static JinjaString ExpandTabs(RenderState state, JinjaString self, JinjaValue?[] arguments)
    {
        int size = JinjaArguments.Int(state, arguments[0], 8, "tabsize");
        MarkedText flat = self.Flat(state);
        MarkedTextBuilder builder = new();
        int column = 0;
        for (int i = 0; i < flat.Text.Length; i++)
        {
            char c = flat.Text[i];
            if (c == '\t')
            {
                int blanks = size > 0 ? size - (column % size) : 0;
                state.ChargeText(blanks);
                state.CheckStringLength((long)builder.Length + blanks);
                builder.Append(' ', blanks, flat.IsLiteralAt(i));
                column += blanks;
                continue;
            }
            builder.Append(flat, i, 1);
            column = c is '\n' or '\r' ? 0 : column + (char.IsLowSurrogate(c) ? 0 : 1);
        }
        return new(builder.ToText(), self.IsSafe);
    }

    private static JinjaValue All(RenderState state, JinjaString self, Func<Rune, bool> test)
    {
        state.ChargeText(self.Length);
        if (self.Length == 0) return JinjaValue.False;
        foreach (Rune rune in self.Flat(state).Text.EnumerateRunes())
            if (!test(rune))
                return JinjaValue.False;
        return JinjaValue.True;
    }

    private static bool IsSuperscriptDigit(Rune rune) =>
        Rune.GetUnicodeCategory(rune) == UnicodeCategory.OtherNumber && rune.Value is 0xB2 or 0xB3 or 0xB9 or 0x2070 or (>= 0x2074 and <= 0x2079) or (>= 0x2080 and <= 0x2089);

    private static JinjaValue IsCased(RenderState state, JinjaString self, bool upper)
    {
        state.ChargeText(self.Length);
        bool any = false;
        foreach (Rune rune in self.Flat(state).Text.EnumerateRunes())
        {
            if (upper ? Rune.IsLower(rune) : Rune.IsUpper(rune)) return JinjaValue.False;
            any |= upper ? Rune.IsUpper(rune) : Rune.IsLower(rune);
        }
        return JinjaValue.From(any);
    }

    private static JinjaValue IsTitle(RenderState state, JinjaString self, JinjaValue?[] arguments)
    {
        state.ChargeText(self.Length);
        (bool any, bool afterCased) = (false, false);
        foreach (Rune rune in self.Flat(state).Text.EnumerateRunes())
        {
            if (Rune.IsUpper(rune) ? afterCased : Rune.IsLower(rune) && !afterCased) return JinjaValue.False;
            afterCased = IsCasedRune(rune);
            any |= afterCased;
        }
        return JinjaValue.From(any);
    }
}
