using System.Collections.Frozen;
using System.Numerics;

namespace Nibble.Llm.Templates;

/// <summary>Functions every template can call.</summary>
internal static class JinjaGlobals
{
    private static readonly FrozenDictionary<string, JinjaFunction> Functions = new Native[]
    {
        new("raise_exception", "message", (state, _, arguments) => throw state.RaisedError(PythonText.Str(state, arguments[0]!).Text)),
        new("strftime_now", "format", (state, _, arguments) =>
            JinjaString.Of(Strftime.Format(state, JinjaArguments.Text(state, arguments[0]!, "format").Flat(state).Text), isLiteral: false)),
        new("range", "start stop? step? /", Range),
        new("namespace", MakeNamespace),
        new("dict", MakeDict),
        new("cycler", (state, _, arguments) => arguments.Positional.Length == 0 ? throw state.Error("at least one item has to be provided") : new JinjaCycler(arguments.Positional)),
        new("joiner", "sep?", (_, _, arguments) => MakeJoiner(arguments[0] ?? JinjaString.Of(", ", isLiteral: true))),
    }.ToFrozenDictionary(native => native.Name, native => new JinjaFunction(native, JinjaValue.None), StringComparer.Ordinal);

    public static JinjaValue? Find(string name) => Functions.GetValueOrDefault(name);

    private static JinjaSequence Range(RenderState state, JinjaValue self, JinjaValue?[] arguments)
    {
        BigInteger first = Read(arguments[0]!);
        (BigInteger start, BigInteger stop) = arguments[1] is { } second ? (first, Read(second)) : (BigInteger.Zero, first);
        BigInteger step = arguments[2] is { } third ? Read(third) : BigInteger.One;
        if (step.IsZero) throw state.Error("range() arg 3 must not be zero");
        BigInteger count = BigInteger.Max(0, PythonOperators.FloorDivide(stop - start + step - step.Sign, step));
        if (count > TemplateLimits.RangeItems)
            throw state.LimitError($"a range of {count} items exceeds the bound of {TemplateLimits.RangeItems}");
        state.ChargeItems((long)count / 4);
        JinjaValue[] items = new JinjaValue[(int)count];
        for (int i = 0; i < items.Length; i++) items[i] = JinjaInt.Of(start + (i * step));
        return new(SequenceKind.Range, items) { RangeBounds = (start, stop, step) };

        BigInteger Read(JinjaValue value)
        {
            PythonOperators.RejectUndefined(state, value);
            return PythonOperators.TryInteger(value, out BigInteger number) ? number : throw state.Error($"'{value.TypeName}' object cannot be interpreted as an integer");
        }
    }

    private static JinjaNamespace MakeNamespace(RenderState state, JinjaValue self, CallArguments arguments)
    {
        JinjaNamespace space = new();
        foreach ((JinjaValue key, JinjaValue value) in MakeDict(state, self, arguments).Items)
            space.Attributes[JinjaArguments.Text(state, key, "attribute").Flat(state).Text] = value;
        return space;
    }

    private static JinjaDict MakeDict(RenderState state, JinjaValue self, CallArguments arguments)
    {
        JinjaDict dict = new();
        if (arguments.Positional.Length > 1) throw state.Error($"dict expected at most 1 argument, got {arguments.Positional.Length}");
        if (arguments.Positional is [JinjaDict source])
        {
            state.ChargeItems(source.Items.Count);
            foreach ((JinjaValue key, JinjaValue value) in source.Items) dict.Items[key] = value;
        }
        else if (arguments.Positional is [var pairs])
        {
            foreach (JinjaValue pair in PythonOperators.Iterate(state, pairs))
            {
                ArraySegment<JinjaValue> parts = PythonOperators.Iterate(state, pair);
                if (parts.Count != 2) throw state.Error($"a dict's pair has length {parts.Count}; 2 is required");
                state.ChargeItems(1);
                dict.Items[PythonOperators.Hashable(state, parts[0])] = parts[1];
            }
        }
        foreach ((string key, JinjaValue value) in arguments.Named) dict.Items[JinjaString.Of(key, isLiteral: false)] = value;
        return dict;
    }

    private static JinjaFunction MakeJoiner(JinjaValue separator)
    {
        bool used = false;
        return new(new("joiner", "", (_, _, _) =>
        {
            JinjaValue result = used ? separator : JinjaString.Empty;
            used = true;
            return result;
        }), JinjaValue.None);
    }
}
