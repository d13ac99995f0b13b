using System.Collections.Frozen;
using System.Numerics;

namespace Nibble.Llm.Templates;

/// <summary>Attributes, items, slices and calls, with jinja2's order of look-up: <c>a.b</c> tries the method first, <c>a['b']</c> the item.</summary>
internal static class JinjaAttributes
{
    /// <summary>Methods that change their object; the sandbox of transformers forbids them, and so do we.</summary>
    private static readonly FrozenSet<string> ListMutators = FrozenSet.Create(StringComparer.Ordinal, "append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort");

    private static readonly FrozenSet<string> DictMutators = FrozenSet.Create(StringComparer.Ordinal, "clear", "pop", "popitem", "setdefault", "update");

    public static JinjaValue GetAttribute(RenderState state, JinjaValue owner, string name, JinjaString key)
    {
        PythonOperators.RejectUndefined(state, owner);
        if (FindAttribute(state, owner, name) is { } attribute) return attribute;
        if (owner is JinjaDict dict && dict.Items.TryGetValue(key, out JinjaValue? item)) return item;
        return Missing(owner, name);
    }

    public static JinjaValue GetItem(RenderState state, JinjaValue owner, JinjaValue key)
    {
        PythonOperators.RejectUndefined(state, owner);
        switch (owner)
        {
            case JinjaDict dict when key is not JinjaDict and not JinjaSequence { Kind: not SequenceKind.Tuple }:
                if (dict.Items.TryGetValue(PythonOperators.Hashable(state, key), out JinjaValue? value)) return value;
                break;
            case JinjaSequence { HasIndex: true } sequence when PythonOperators.TryInteger(key, out BigInteger index):
                if (index.Sign < 0) index += sequence.Items.Length;
                if (index.Sign >= 0 && index < sequence.Items.Length) return sequence.Items[(int)index];
                break;
            case JinjaString text when PythonOperators.TryInteger(key, out BigInteger index):
                if (index.Sign < 0) index += text.CodePoints;
                if (index.Sign >= 0 && index < text.CodePoints) return CodePointRange(state, text, (int)index, 1);
                break;
        }
        if (key is not JinjaString name) return new JinjaUndefined($"{Describe(owner)} has no element {PythonText.Repr(state, key).Flat(state).Text}");
        string attributeName = name.Flat(state).Text;
        return FindAttribute(state, owner, attributeName) ?? Missing(owner, attributeName);
    }

    public static JinjaValue GetSlice(RenderState state, JinjaValue owner, JinjaValue? start, JinjaValue? stop, JinjaValue? step)
    {
        PythonOperators.RejectUndefined(state, owner);
        int length = owner switch
        {
            JinjaString text => text.CodePoints,
            JinjaSequence { HasIndex: true } sequence => sequence.Items.Length,
            _ => -1,
        };
        if (length < 0) throw state.Error(owner is JinjaDict ? "unhashable type: 'slice'" : $"'{owner.TypeName}' object is not subscriptable");
        BigInteger by = Bound(state, step) ?? BigInteger.One;
        if (by.IsZero) throw state.Error("slice step cannot be zero");
        bool backwards = by.Sign < 0;
        (int low, int high) = backwards ? (-1, length - 1) : (0, length);
        int from = Clamp(Bound(state, start) ?? (backwards ? high : low));
        int to = Bound(state, stop) is { } end ? Clamp(end) : backwards ? low : high;
        int stride = (int)BigInteger.Max(BigInteger.Min(by, int.MaxValue / 2), -(int.MaxValue / 2));
        int count = backwards ? (from > to ? (from - to - 1) / -stride + 1 : 0) : (from < to ? (to - from - 1) / stride + 1 : 0);
        if (owner is JinjaString whole) return SliceText(state, whole, from, stride, count);
        JinjaSequence source = (JinjaSequence)owner;
        state.ChargeItems(count);
        JinjaValue[] items = new JinjaValue[count];
        for (int i = 0; i < count; i++) items[i] = source.Items[from + (i * stride)];
        if (source.Kind != SequenceKind.Range) return new JinjaSequence(source.Kind, items);
        (BigInteger first, _, BigInteger gap) = source.RangeBounds;
        return new JinjaSequence(SequenceKind.Range, items) { RangeBounds = (first + (from * gap), first + (to * gap), gap * by) };

        int Clamp(BigInteger value)
        {
            if (value.Sign < 0) value += length;
            return (int)BigInteger.Max(low, BigInteger.Min(high, value));
        }
    }

    /// <summary>A run of code points of a string.</summary>
    public static JinjaString CodePointRange(RenderState state, JinjaString text, int start, int count)
    {
        MarkedText flat = text.Flat(state);
        bool oneUnitEach = text.CodePoints == text.Length;
        state.ChargeText(oneUnitEach ? count : text.Length);
        int from = oneUnitEach ? start : PythonText.Advance(flat.Text, 0, start);
        int to = oneUnitEach ? from + count : PythonText.Advance(flat.Text, from, count);
        return new(flat.Slice(from, to - from), text.IsSafe);
    }

    public static JinjaValue Call(RenderState state, JinjaValue function, CallArguments arguments)
    {
        switch (function)
        {
            case JinjaFunction native:
                return native.Call(state, arguments);
            case JinjaMacro macro:
                return macro.Call(state, arguments);
            case JinjaLoop loop:
                if (loop.Recurse is null) throw state.Error("The loop must have the 'recursive' marker to be called recursively.");
                if (arguments.Positional.Length != 1 || arguments.Named.Count > 0) throw state.Error("loop() takes exactly one argument, the items");
                return loop.Recurse(arguments.Positional[0]);
            case JinjaUndefined undefined:
                throw state.Error(undefined.Message);
            default:
                throw state.Error($"'{function.TypeName}' object is not callable");
        }
    }

    /// <summary>What jinja2 calls the value in its messages.</summary>
    private static string Describe(JinjaValue owner) => owner is JinjaNone ? "None" : $"{owner.TypeName} object";

    private static JinjaUndefined Missing(JinjaValue owner, string name) => new($"'{Describe(owner)}' has no attribute '{name}'");

    private static BigInteger? Bound(RenderState state, JinjaValue? value)
    {
        if (value is null or JinjaNone) return null;
        PythonOperators.RejectUndefined(state, value);
        return PythonOperators.TryInteger(value, out BigInteger bound) ? bound : throw state.Error("slice indices must be integers or None");
    }

    private static JinjaString SliceText(RenderState state, JinjaString text, int from, int stride, int count)
    {
        if (count == 0) return JinjaString.Empty;
        if (stride == 1) return CodePointRange(state, text, from, count);
        MarkedText flat = text.Flat(state);
        state.ChargeText(text.Length);
        int[] offsets = new int[text.CodePoints + 1];
        for (int i = 0; i < text.CodePoints; i++) offsets[i + 1] = offsets[i] + (char.IsHighSurrogate(flat.Text[offsets[i]]) ? 2 : 1);
        MarkedTextBuilder builder = new();
        for (int i = 0; i < count; i++)
        {
            int index = from + (i * stride);
            builder.Append(flat, offsets[index], offsets[index + 1] - offsets[index]);
        }
        return new(builder.ToText(), text.IsSafe);
    }

    /// <summary>A method or attribute that the value's type has; null where it has none of this name.</summary>
    private static JinjaValue? FindAttribute(RenderState state, JinjaValue owner, string name)
    {
        switch (owner)
        {
            case JinjaString:
                return Method(JinjaStringMethods.Table, owner, name);
            case JinjaDict:
                return DictMutators.Contains(name) ? Unsafe(owner, name) : Method(JinjaCollectionMethods.Dict, owner, name);
            case JinjaSequence sequence:
                int field = Array.IndexOf(sequence.FieldNames, name);
                if (field >= 0) return sequence.Items[field];
                if (sequence.Kind == SequenceKind.List && ListMutators.Contains(name)) return Unsafe(owner, name);
                return sequence.HasIndex ? Method(JinjaCollectionMethods.Sequence, owner, name) : null;
            case JinjaNamespace space:
                return space.Attributes.GetValueOrDefault(name);
            case JinjaLoop loop:
                return JinjaCollectionMethods.LoopAttribute(state, loop, name);
            case JinjaCycler cycler:
                return name == "current" ? cycler.Items[cycler.Position] : Method(JinjaCollectionMethods.Cycler, owner, name);
            case JinjaMacro macro:
                return name switch
                {
                    "name" => JinjaString.Of(macro.Name, isLiteral: true),
                    "arguments" => JinjaSequence.Tuple(macro.Definition.Parameters.Select(parameter => (JinjaValue)JinjaString.Of(parameter.Name, isLiteral: true)).ToArray()),
                    "catch_kwargs" => JinjaValue.From(macro.Definition.UsesKwargs),
                    "catch_varargs" => JinjaValue.From(macro.Definition.UsesVarargs),
                    "caller" => JinjaValue.From(macro.Definition.UsesCaller),
                    _ => null,
                };
            case JinjaFloat:
                return Method(JinjaCollectionMethods.Float, owner, name);
            default:
                return null;
        }
    }

    private static JinjaFunction? Method(FrozenDictionary<string, Native> table, JinjaValue owner, string name) =>
        table.TryGetValue(name, out Native? native) ? new(native, owner) : null;

    private static JinjaUndefined Unsafe(JinjaValue owner, string name) =>
        new($"access to attribute '{name}' of '{owner.TypeName}' object is unsafe.");
}
