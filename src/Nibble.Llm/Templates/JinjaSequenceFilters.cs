using System.Numerics;

namespace Nibble.Llm.Templates;

/// <summary>The filters of jinja2 3.1 that work on sequences. Those that jinja2 writes as generators give generators here.</summary>
internal static class JinjaSequenceFilters
{
    public static IEnumerable<Native> Natives =>
    [
        new("batch", "linecount fill_with?", Batch),
        new("count", "", Length),
        new("dictsort", "case_sensitive? by? reverse?", DictSort),
        new("first", "", First),
        new("groupby", "attribute default? case_sensitive?", GroupBy),
        new("join", "d? attribute?", Join),
        new("last", "", Last),
        new("length", "", Length),
        new("list", "", (state, value, _) => new JinjaSequence(SequenceKind.List, Copy(state, value))),
        new("map", MapFilter),
        new("max", "case_sensitive? attribute?", (state, value, arguments) => Extreme(state, value, arguments, 1)),
        new("min", "case_sensitive? attribute?", (state, value, arguments) => Extreme(state, value, arguments, -1)),
        new("reject", (state, value, arguments) => Select(state, value, arguments, keep: false, byAttribute: false)),
        new("rejectattr", (state, value, arguments) => Select(state, value, arguments, keep: false, byAttribute: true)),
        new("reverse", "", Reverse),
        new("select", (state, value, arguments) => Select(state, value, arguments, keep: true, byAttribute: false)),
        new("selectattr", (state, value, arguments) => Select(state, value, arguments, keep: true, byAttribute: true)),
        new("slice", "slices fill_with?", Slice),
        new("sort", "reverse? case_sensitive? attribute?", Sort),
        new("sum", "attribute? start?", Sum),
        new("unique", "case_sensitive? attribute?", Unique),
    ];

    private static JinjaValue[] Copy(RenderState state, JinjaValue value)
    {
        ArraySegment<JinjaValue> items = PythonOperators.Iterate(state, value);
        state.ChargeItems(items.Count);
        return items.ToArray();
    }

    private static JinjaInt Length(RenderState state, JinjaValue value, JinjaValue?[] arguments) => JinjaInt.Of(value switch
    {
        JinjaString text => text.CodePoints,
        JinjaDict dict => dict.Items.Count,
        JinjaUndefined => 0,
        JinjaSequence { HasLength: true } sequence => sequence.Items.Length,
        JinjaLoop loop => loop.Items.Length,
        _ => throw state.Error($"object of type '{value.TypeName}' has no len()"),
    });

    private static JinjaValue First(RenderState state, JinjaValue value, JinjaValue?[] arguments)
    {
        if (value is JinjaSequence { Kind: SequenceKind.Generator } generator && generator.Position < generator.Items.Length) return generator.Items[generator.Position++];
        if (value is JinjaString { Length: > 0 } text) return JinjaAttributes.CodePointRange(state, text, 0, 1);
        ArraySegment<JinjaValue> items = PythonOperators.Iterate(state, value);
        return items.Count > 0 ? items[0] : new JinjaUndefined("No first item, sequence was empty.");
    }

    private static JinjaValue Last(RenderState state, JinjaValue value, JinjaValue?[] arguments)
    {
        if (value is JinjaSequence { Kind: SequenceKind.Generator }) throw state.Error("'generator' object is not reversible");
        if (value is JinjaString { Length: > 0 } text) return JinjaAttributes.CodePointRange(state, text, text.CodePoints - 1, 1);
        ArraySegment<JinjaValue> items = PythonOperators.Iterate(state, value);
        return items.Count > 0 ? items[^1] : new JinjaUndefined("No last item, sequence was empty.");
    }

    private static JinjaValue Reverse(RenderState state, JinjaValue value, JinjaValue?[] arguments)
    {
        if (value is JinjaString text) return JinjaAttributes.GetSlice(state, text, null, null, JinjaInt.Of(-1));
        PythonOperators.RejectUndefined(state, value);
        JinjaValue[] items = Copy(state, value);
        Array.Reverse(items);
        return new JinjaSequence(value is JinjaSequence { Kind: SequenceKind.Generator } ? SequenceKind.List : SequenceKind.Generator, items);
    }

    private static JinjaString Join(RenderState state, JinjaValue value, JinjaValue?[] arguments)
    {
        JinjaString separator = arguments[0] is { } given ? PythonText.StrValue(state, given) : JinjaString.Empty;
        Func<JinjaValue, JinjaValue> key = Getter(state, arguments[1]);
        JinjaString result = JinjaString.Empty;
        bool first = true;
        foreach (JinjaValue item in PythonOperators.Iterate(state, value))
        {
            state.ChargeNode();
            if (!first) result = JinjaString.Concat(state, result, separator);
            first = false;
            result = JinjaString.Concat(state, result, PythonText.StrValue(state, key(item)));
        }
        return result;
    }

    private static JinjaSequence MapFilter(RenderState state, JinjaValue value, CallArguments arguments)
    {
        // jinja2 looks at the arguments only when there is something to map.
        if (!value.IsTrue) return JinjaSequence.Generator([]);
        Func<JinjaValue, JinjaValue> map;
        if (arguments.Positional.Length == 0 && arguments.FindNamed("attribute") is { } attribute)
        {
            JinjaValue? fallback = arguments.FindNamed("default");
            foreach ((string name, _) in arguments.Named)
                if (name is not ("attribute" or "default"))
                    throw state.Error($"Unexpected keyword argument '{name}'");
            map = Getter(state, attribute, fallback is JinjaNone ? null : fallback);
        }
        else
        {
            if (arguments.Positional.Length == 0) throw state.Error("map requires a filter argument");
            string filter = PythonText.Str(state, arguments.Positional[0]).Text;
            CallArguments rest = new(arguments.Positional[1..], arguments.Named);
            map = item => JinjaFilters.Apply(state, filter, item, rest);
        }
        JinjaValue[] items = Copy(state, value);
        for (int i = 0; i < items.Length; i++) items[i] = map(items[i]);
        return JinjaSequence.Generator(items);
    }

    private static JinjaSequence Select(RenderState state, JinjaValue value, CallArguments arguments, bool keep, bool byAttribute)
    {
        if (!value.IsTrue) return JinjaSequence.Generator([]);
        int next = 0;
        Func<JinjaValue, JinjaValue> key = item => item;
        if (byAttribute)
        {
            if (arguments.Positional.Length == 0) throw state.Error("Missing parameter for attribute name");
            key = Getter(state, arguments.Positional[next++]);
        }
        Func<JinjaValue, bool> test = item => item.IsTrue;
        if (next < arguments.Positional.Length)
        {
            string name = PythonText.Str(state, arguments.Positional[next++]).Text;
            CallArguments rest = new(arguments.Positional[next..], arguments.Named);
            test = item => JinjaTests.Apply(state, name, item, rest);
        }
        List<JinjaValue> kept = [];
        foreach (JinjaValue item in PythonOperators.Iterate(state, value))
        {
            state.ChargeItems(1);
            if (test(key(item)) == keep) kept.Add(item);
        }
        return JinjaSequence.Generator(kept.ToArray());
    }

    private static JinjaSequence Batch(RenderState state, JinjaValue value, JinjaValue?[] arguments)
    {
        int size = JinjaArguments.Int(state, arguments[0], 1, "linecount");
        JinjaValue[] items = Copy(state, value);
        if (size <= 0) throw state.Error($"'linecount' must be at least 1, not {size}");
        List<JinjaValue> rows = [];
        for (int start = 0; start < items.Length; start += size)
        {
            IEnumerable<JinjaValue> row = items.Skip(start).Take(size);
            int missing = start + size - items.Length;
            if (missing > 0 && arguments[1] is { } fill and not JinjaNone)
            {
                state.ChargeItems(missing);
                row = row.Concat(Enumerable.Repeat(fill, missing));
            }
            rows.Add(new JinjaSequence(SequenceKind.List, row.ToArray()));
        }
        return JinjaSequence.Generator(rows.ToArray());
    }

    private static JinjaSequence Slice(RenderState state, JinjaValue value, JinjaValue?[] arguments)
    {
        int slices = JinjaArguments.Int(state, arguments[0], 1, "slices");
        JinjaValue[] items = Copy(state, value);
        if (slices == 0) throw state.Error("integer division or modulo by zero");
        state.ChargeItems(Math.Max(0, slices));
        List<JinjaValue> columns = [];
        int offset = 0;
        for (int i = 0; i < slices; i++)
        {
            bool extra = i < items.Length % slices;
            int size = (items.Length / slices) + (extra ? 1 : 0);
            List<JinjaValue> column = [.. items.Skip(offset).Take(size)];
            offset += size;
            if (!extra && arguments[1] is { } fill and not JinjaNone) column.Add(fill);
            columns.Add(new JinjaSequence(SequenceKind.List, column.ToArray()));
        }
        return JinjaSequence.Generator(columns.ToArray());
    }

    private static JinjaSequence DictSort(RenderState state, JinjaValue value, JinjaValue?[] arguments)
    {
        PythonOperators.RejectUndefined(state, value);
        if (value is not JinjaDict dict) throw state.Error($"'{value.TypeName}' object has no attribute 'items'");
        string by = arguments[1] is { } given ? PythonText.Str(state, given).Text : "key";
        if (by is not ("key" or "value")) throw state.Error("You can only sort by either \"key\" or \"value\"");
        bool caseSensitive = arguments[0]?.IsTrue ?? false;
        state.ChargeItems(dict.Items.Count);
        IEnumerable<JinjaValue> pairs = dict.Items.Select(pair => (JinjaValue)JinjaSequence.Tuple(pair.Key, pair.Value));
        return SortBy(state, pairs, pair => Fold(state, ((JinjaSequence)pair).Items[by == "key" ? 0 : 1], caseSensitive), arguments[2]?.IsTrue ?? false);
    }

    private static JinjaSequence Sort(RenderState state, JinjaValue value, JinjaValue?[] arguments)
    {
        bool caseSensitive = arguments[1]?.IsTrue ?? false;
        Func<JinjaValue, JinjaValue>[] keys = arguments[2] is JinjaString names
            ? names.Flat(state).Text.Split(',').Select(name => Getter(state, JinjaString.Of(name, isLiteral: false))).ToArray()
            : [Getter(state, arguments[2])];
        return SortBy(state, Copy(state, value), item => JinjaSequence.Tuple(keys.Select(key => Fold(state, key(item), caseSensitive)).ToArray()), arguments[0]?.IsTrue ?? false);
    }

    /// <summary>A stable sort; a reversed one keeps the order of equal items too, as Python's does.</summary>
    private static JinjaSequence SortBy(RenderState state, IEnumerable<JinjaValue> items, Func<JinjaValue, JinjaValue> key, bool reverse)
    {
        (JinjaValue Key, JinjaValue Item)[] pairs = items.Select(item => (key(item), item)).ToArray();
        StableSort(state, pairs, reverse);
        return new(SequenceKind.List, pairs.Select(pair => pair.Item).ToArray());
    }

    /// <summary>Merge sort by key. (The base library's sorts wrap what a comparison throws, and not all are stable.)</summary>
    public static void StableSort(RenderState state, (JinjaValue Key, JinjaValue Item)[] pairs, bool reverse)
    {
        (JinjaValue Key, JinjaValue Item)[] source = pairs;
        (JinjaValue Key, JinjaValue Item)[] target = new (JinjaValue Key, JinjaValue Item)[pairs.Length];
        for (int width = 1; width < pairs.Length; width *= 2)
        {
            for (int start = 0; start < pairs.Length; start += 2 * width)
            {
                int middle = Math.Min(start + width, pairs.Length);
                int end = Math.Min(start + (2 * width), pairs.Length);
                (int left, int right) = (start, middle);
                for (int i = start; i < end; i++)
                {
                    bool takeRight = left == middle || (right < end && Precedes(source[right].Key, source[left].Key));
                    target[i] = source[takeRight ? right++ : left++];
                }
            }
            (source, target) = (target, source);
        }
        if (!ReferenceEquals(source, pairs)) source.CopyTo(pairs, 0);

        bool Precedes(JinjaValue a, JinjaValue b) => PythonOperators.Compare(state, a, b, "<") == (reverse ? 1 : -1);
    }

    private static JinjaSequence GroupBy(RenderState state, JinjaValue value, JinjaValue?[] arguments)
    {
        bool caseSensitive = arguments[2]?.IsTrue ?? false;
        Func<JinjaValue, JinjaValue> get = Getter(state, arguments[0], arguments[1] is JinjaNone ? null : arguments[1]);
        JinjaSequence sorted = SortBy(state, Copy(state, value), item => Fold(state, get(item), caseSensitive), reverse: false);
        List<(JinjaValue Key, List<JinjaValue> Items)> groups = [];
        JinjaValue? last = null;
        foreach (JinjaValue item in sorted.Items)
        {
            JinjaValue key = Fold(state, get(item), caseSensitive);
            if (last is null || !PythonOperators.AreEqual(state, last, key)) groups.Add((get(item), []));
            last = key;
            groups[^1].Items.Add(item);
        }
        return new(SequenceKind.List, groups.Select(group => (JinjaValue)new JinjaSequence(SequenceKind.Tuple, [group.Key, new JinjaSequence(SequenceKind.List, group.Items.ToArray())])
        {
            FieldNames = ["grouper", "list"],
        }).ToArray());
    }

    private static JinjaSequence Unique(RenderState state, JinjaValue value, JinjaValue?[] arguments)
    {
        Func<JinjaValue, JinjaValue> get = Getter(state, arguments[1]);
        HashSet<JinjaValue> seen = new(JinjaDict.KeyComparer.Instance);
        List<JinjaValue> kept = [];
        foreach (JinjaValue item in PythonOperators.Iterate(state, value))
        {
            state.ChargeItems(1);
            if (seen.Add(PythonOperators.Hashable(state, Fold(state, get(item), arguments[0]?.IsTrue ?? false)))) kept.Add(item);
        }
        return JinjaSequence.Generator(kept.ToArray());
    }

    private static JinjaValue Extreme(RenderState state, JinjaValue value, JinjaValue?[] arguments, int sign)
    {
        Func<JinjaValue, JinjaValue> get = Getter(state, arguments[1]);
        (JinjaValue? best, JinjaValue? bestKey) = (null, null);
        foreach (JinjaValue item in PythonOperators.Iterate(state, value))
        {
            JinjaValue key = Fold(state, get(item), arguments[0]?.IsTrue ?? false);
            if (bestKey is not null && PythonOperators.Compare(state, key, bestKey, sign > 0 ? ">" : "<") != sign) continue;
            (best, bestKey) = (item, key);
        }
        return best ?? new JinjaUndefined("No aggregated item, sequence was empty.");
    }

    private static JinjaValue Sum(RenderState state, JinjaValue value, JinjaValue?[] arguments)
    {
        Func<JinjaValue, JinjaValue> get = Getter(state, arguments[0] is JinjaNone ? null : arguments[0]);
        JinjaValue total = arguments[1] ?? JinjaInt.Of(0);
        if (total is JinjaString) throw state.Error("sum() can't sum strings [use ''.join(seq) instead]");
        foreach (JinjaValue item in PythonOperators.Iterate(state, value))
        {
            state.ChargeNode();
            total = PythonOperators.Add(state, total, get(item));
        }
        return total;
    }

    /// <summary>Lower case for strings, so that sorting and grouping ignore case; others as they are.</summary>
    private static JinjaValue Fold(RenderState state, JinjaValue value, bool caseSensitive) =>
        caseSensitive || value is not JinjaString ? value : JinjaStringMethods.Invoke(state, value, "lower");

    /// <summary>Reads an attribute path such as <c>function.name</c> or <c>items.0</c>; a missing path gives the item itself.</summary>
    private static Func<JinjaValue, JinjaValue> Getter(RenderState state, JinjaValue? attribute, JinjaValue? fallback = null)
    {
        if (attribute is null or JinjaNone) return item => item;
        JinjaValue[] path = attribute is JinjaString text
            ? text.Flat(state).Text.Split('.').Select(part => part.Length is > 0 and < 9 && part.All(char.IsAsciiDigit)
                ? JinjaInt.Of(BigInteger.Parse(part, System.Globalization.CultureInfo.InvariantCulture))
                : (JinjaValue)JinjaString.Of(part, isLiteral: false)).ToArray()
            : [attribute];
        return item =>
        {
            foreach (JinjaValue part in path)
            {
                state.ChargeNode();
                item = JinjaAttributes.GetItem(state, item, part);
                if (item is JinjaUndefined && fallback is not null) item = fallback;
            }
            return item;
        };
    }
}
