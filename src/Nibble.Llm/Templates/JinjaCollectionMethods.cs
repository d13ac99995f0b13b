using System.Collections.Frozen;
using System.Numerics;

namespace Nibble.Llm.Templates;

/// <summary>Methods of dicts, sequences, floats, loops and cyclers.</summary>
internal static class JinjaCollectionMethods
{
    public static readonly FrozenDictionary<string, Native> Dict = Table(
        new("get", "key default? /", (state, self, arguments) =>
            ((JinjaDict)self).Items.TryGetValue(PythonOperators.Hashable(state, arguments[0]!), out JinjaValue? value) ? value : arguments[1] ?? JinjaValue.None),
        new("keys", "", (state, self, _) => View(state, SequenceKind.Keys, self, pair => pair.Key)),
        new("values", "", (state, self, _) => View(state, SequenceKind.Values, self, pair => pair.Value)),
        new("items", "", (state, self, _) => View(state, SequenceKind.Items, self, pair => JinjaSequence.Tuple(pair.Key, pair.Value))),
        new("copy", "", (_, self, _) => self));

    public static readonly FrozenDictionary<string, Native> Sequence = Table(
        new("count", "value /", (state, self, arguments) =>
            JinjaInt.Of(((JinjaSequence)self).Items.Count(item => PythonOperators.AreEqual(state, item, arguments[0]!)))),
        new("index", "value start? stop? /", Index),
        new("copy", "", (_, self, _) => self));

    public static readonly FrozenDictionary<string, Native> Float = Table(
        new Native("is_integer", "", (_, self, _) => JinjaValue.From(double.IsInteger(((JinjaFloat)self).Value))));

    public static readonly FrozenDictionary<string, Native> Cycler = Table(
        new("next", "", (_, self, _) =>
        {
            JinjaCycler cycler = (JinjaCycler)self;
            JinjaValue item = cycler.Items[cycler.Position];
            cycler.Position = (cycler.Position + 1) % cycler.Items.Length;
            return item;
        }),
        new("reset", "", (_, self, _) =>
        {
            ((JinjaCycler)self).Position = 0;
            return JinjaValue.None;
        }));

    private static readonly FrozenDictionary<string, Native> Loop = Table(
        new("cycle", (state, self, arguments) => arguments.Positional.Length == 0
            ? throw state.Error("no items for cycling given")
            : arguments.Positional[((JinjaLoop)self).Index % arguments.Positional.Length]),
        new("changed", (state, self, arguments) =>
        {
            JinjaLoop loop = (JinjaLoop)self;
            JinjaSequence value = JinjaSequence.Tuple(arguments.Positional);
            bool changed = loop.LastChanged is null || !PythonOperators.AreEqual(state, loop.LastChanged, value);
            loop.LastChanged = value;
            return JinjaValue.From(changed);
        }));

    public static FrozenDictionary<string, Native> Table(params Native[] natives) => natives.ToFrozenDictionary(native => native.Name, StringComparer.Ordinal);

    public static JinjaValue? LoopAttribute(RenderState state, JinjaLoop loop, string name)
    {
        (int index, int length) = (loop.Index, loop.Items.Length);
        return name switch
        {
            "index" => JinjaInt.Of(index + 1),
            "index0" => JinjaInt.Of(index),
            "revindex" => JinjaInt.Of(length - index),
            "revindex0" => JinjaInt.Of(length - index - 1),
            "first" => JinjaValue.From(index == 0),
            "last" => JinjaValue.From(index == length - 1),
            "length" => JinjaInt.Of(length),
            "depth" => JinjaInt.Of(loop.Depth + 1),
            "depth0" => JinjaInt.Of(loop.Depth),
            "previtem" => index > 0 ? loop.Items[index - 1] : new JinjaUndefined("there is no previous item"),
            "nextitem" => index < length - 1 ? loop.Items[index + 1] : new JinjaUndefined("there is no next item"),
            _ => Loop.TryGetValue(name, out Native? native) ? new JinjaFunction(native, loop) : null,
        };
    }

    private static JinjaSequence View(RenderState state, SequenceKind kind, JinjaValue self, Func<KeyValuePair<JinjaValue, JinjaValue>, JinjaValue> select)
    {
        JinjaDict dict = (JinjaDict)self;
        state.ChargeItems(dict.Items.Count);
        return new(kind, dict.Items.Select(select).ToArray());
    }

    private static JinjaInt Index(RenderState state, JinjaValue self, JinjaValue?[] arguments)
    {
        JinjaSequence sequence = (JinjaSequence)self;
        (int start, int stop) = JinjaArguments.Range(state, arguments[1], arguments[2], sequence.Items.Length);
        for (int i = start; i < stop; i++)
            if (PythonOperators.AreEqual(state, sequence.Items[i], arguments[0]!))
                return JinjaInt.Of(i);
        throw state.Error($"{PythonText.Repr(state, arguments[0]!).Flat(state).Text} is not in {sequence.TypeName}");
    }
}

/// <summary>Reads arguments as C# values, with Python's errors for other types.</summary>
internal static class JinjaArguments
{
    public static int Int(RenderState state, JinjaValue? value, int whenMissing, string name)
    {
        if (value is null) return whenMissing;
        PythonOperators.RejectUndefined(state, value);
        if (!PythonOperators.TryInteger(value, out BigInteger number)) throw state.Error($"'{name}' must be an integer, not {value.TypeName}");
        return (int)BigInteger.Max(int.MinValue / 2, BigInteger.Min(int.MaxValue / 2, number));
    }

    public static JinjaString Text(RenderState state, JinjaValue value, string name)
    {
        PythonOperators.RejectUndefined(state, value);
        return value as JinjaString ?? throw state.Error($"'{name}' must be str, not {value.TypeName}");
    }

    /// <summary>Python's start and stop arguments, clamped to 0..<paramref name="length"/>; None counts as not given.</summary>
    public static (int Start, int Stop) Range(RenderState state, JinjaValue? start, JinjaValue? stop, int length)
    {
        return (Clamp(start, 0, "start"), Clamp(stop, length, "stop"));

        int Clamp(JinjaValue? value, int whenMissing, string name)
        {
            if (value is null or JinjaNone) return whenMissing;
            int index = Int(state, value, whenMissing, name);
            return Math.Clamp(index < 0 ? index + length : index, 0, length);
        }
    }
}
