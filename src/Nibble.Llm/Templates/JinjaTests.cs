using System.Collections.Frozen;
using System.Numerics;

namespace Nibble.Llm.Templates;

/// <summary>The tests of jinja2 3.1: what stands after <c>is</c>.</summary>
internal static class JinjaTests
{
    private static readonly FrozenDictionary<string, Native> Table = Natives().ToFrozenDictionary(native => native.Name, StringComparer.Ordinal);

    public static bool Exists(string name) => Table.ContainsKey(name);

    public static bool Apply(RenderState state, string name, JinjaValue value, CallArguments arguments)
    {
        state.ChargeStep();
        if (!Table.TryGetValue(name, out Native? native)) throw state.Error($"no test named '{name}'");
        return native.Invoke(state, value, arguments).IsTrue;
    }

    private static IEnumerable<Native> Natives()
    {
        yield return Test("defined", value => value is not JinjaUndefined);
        yield return Test("undefined", value => value is JinjaUndefined);
        yield return Test("none", value => value is JinjaNone);
        yield return Test("boolean", value => value is JinjaBool);
        yield return Test("true", value => value is JinjaBool { Value: true });
        yield return Test("false", value => value is JinjaBool { Value: false });
        yield return Test("integer", value => value is JinjaInt);
        yield return Test("float", value => value is JinjaFloat);
        yield return Test("number", value => value is JinjaInt or JinjaFloat or JinjaBool);
        yield return Test("string", value => value is JinjaString);
        yield return Test("mapping", value => value is JinjaDict);
        yield return Test("iterable", value => value is JinjaString or JinjaDict or JinjaSequence or JinjaUndefined or JinjaLoop);
        yield return Test("sequence", value => value is JinjaString or JinjaDict or JinjaSequence { HasIndex: true } or JinjaUndefined);
        yield return Test("callable", value => value is JinjaFunction or JinjaMacro or JinjaLoop or JinjaUndefined);
        yield return Test("escaped", value => value is JinjaString { IsSafe: true });
        yield return new("odd", "", (state, value, _) => JinjaValue.From(Remainder(state, value, JinjaInt.Of(2)) is JinjaInt { Value.IsOne: true }));
        yield return new("even", "", (state, value, _) => JinjaValue.From(!Remainder(state, value, JinjaInt.Of(2)).IsTrue));
        yield return new("divisibleby", "num", (state, value, arguments) => JinjaValue.From(!Remainder(state, value, arguments[0]!).IsTrue));
        yield return new("lower", "", (state, value, _) => JinjaStringMethods.Invoke(state, value, "islower"));
        yield return new("upper", "", (state, value, _) => JinjaStringMethods.Invoke(state, value, "isupper"));
        yield return new("sameas", "other", (state, value, arguments) => JinjaValue.From(IsSame(value, arguments[0]!)));
        yield return new("filter", "", (state, value, _) => JinjaValue.From(JinjaFilters.Exists(PythonText.Str(state, value).Text)));
        yield return new("test", "", (state, value, _) => JinjaValue.From(Exists(PythonText.Str(state, value).Text)));
        foreach ((string operation, string[] names) in Comparisons)
            foreach (string name in names)
                yield return new(name, "other", (state, value, arguments) => JinjaValue.From(CompareExpression.Holds(state, operation, value, arguments[0]!)));
    }

    private static (string Operation, string[] Names)[] Comparisons =>
    [
        ("in", ["in"]),
        ("==", ["==", "eq", "equalto"]),
        ("!=", ["!=", "ne"]),
        (">", [">", "gt", "greaterthan"]),
        (">=", [">=", "ge"]),
        ("<", ["<", "lt", "lessthan"]),
        ("<=", ["<=", "le"]),
    ];

    private static Native Test(string name, Func<JinjaValue, bool> test) => new(name, "", (_, value, _) => JinjaValue.From(test(value)));

    private static JinjaValue Remainder(RenderState state, JinjaValue value, JinjaValue divisor)
    {
        JinjaValue remainder = PythonOperators.Modulo(state, value, divisor);
        return remainder is JinjaFloat { Value: 1 } ? JinjaInt.Of(1) : remainder;
    }

    /// <summary>Python's <c>is</c>, which for small values means the same kind and value.</summary>
    private static bool IsSame(JinjaValue left, JinjaValue right) =>
        ReferenceEquals(left, right) || (left is JinjaInt a && right is JinjaInt b && BigInteger.Abs(a.Value) <= 256 && a.Value == b.Value);
}
