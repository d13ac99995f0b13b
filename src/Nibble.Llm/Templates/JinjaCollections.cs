using System.Numerics;

namespace Nibble.Llm.Templates;

/// <summary>Which Python sequence a <see cref="JinjaSequence"/> stands for.</summary>
internal enum SequenceKind
{
    List,
    Tuple,
    Range,

    /// <summary>What lazy filters give: always true, no length, no index, read once.</summary>
    Generator,
    Keys,
    Values,
    Items,
}

/// <summary>A list, tuple, range, dict view or generator. Its items never change; only a generator's position does.</summary>
internal sealed class JinjaSequence(SequenceKind kind, JinjaValue[] items) : JinjaValue
{
    public SequenceKind Kind { get; } = kind;

    public JinjaValue[] Items { get; } = items;

    /// <summary>How many items of a generator were read.</summary>
    public int Position { get; set; }

    /// <summary>Start, stop and step of a range.</summary>
    public (BigInteger Start, BigInteger Stop, BigInteger Step) RangeBounds { get; init; }

    /// <summary>Names of a named tuple's fields, in order; empty for others.</summary>
    public string[] FieldNames { get; init; } = [];

    /// <summary>True where len, and for all but dict views an index, work.</summary>
    public bool HasLength => Kind != SequenceKind.Generator;

    public bool HasIndex => Kind is SequenceKind.List or SequenceKind.Tuple or SequenceKind.Range;

    internal override string TypeName => Kind switch
    {
        SequenceKind.List => "list",
        SequenceKind.Tuple => "tuple",
        SequenceKind.Range => "range",
        SequenceKind.Generator => "generator",
        SequenceKind.Keys => "dict_keys",
        SequenceKind.Values => "dict_values",
        _ => "dict_items",
    };

    internal override bool IsTrue => Kind == SequenceKind.Generator || Items.Length != 0;

    public static JinjaSequence Tuple(params JinjaValue[] items) => new(SequenceKind.Tuple, items);

    public static JinjaSequence Generator(JinjaValue[] items) => new(SequenceKind.Generator, items);
}

/// <summary>A dict in insertion order with Python's key equality (1, 1.0 and True are one key).</summary>
internal sealed class JinjaDict : JinjaValue
{
    public OrderedDictionary<JinjaValue, JinjaValue> Items { get; } = new(KeyComparer.Instance);

    internal override string TypeName => "dict";

    internal override bool IsTrue => Items.Count != 0;

    /// <summary>Equality and hash of hashable values; marks do not take part.</summary>
    public sealed class KeyComparer : IEqualityComparer<JinjaValue>
    {
        public static readonly KeyComparer Instance = new();

        public bool Equals(JinjaValue? x, JinjaValue? y) => ReferenceEquals(x, y) || PythonOperators.AreEqual(RenderState.Detached(), x!, y!);

        public int GetHashCode(JinjaValue value)
        {
            switch (value)
            {
                case JinjaString text:
                    return string.GetHashCode(text.Flat(RenderState.Detached()).Text, StringComparison.Ordinal);
                case JinjaFloat number when double.IsInteger(number.Value):
                    return new BigInteger(number.Value).GetHashCode();
                case JinjaFloat number:
                    return number.Value.GetHashCode();
                case JinjaSequence { Kind: SequenceKind.Tuple } tuple:
                    HashCode hash = default;
                    foreach (JinjaValue item in tuple.Items) hash.Add(GetHashCode(item));
                    return hash.ToHashCode();
                default:
                    return PythonOperators.TryInteger(value, out BigInteger integer)
                        ? integer.GetHashCode()
                        : System.Runtime.CompilerServices.RuntimeHelpers.GetHashCode(value is JinjaUndefined ? None : value);
            }
        }
    }
}

/// <summary>What <c>namespace(...)</c> gives: the one object whose attributes a template may set.</summary>
internal sealed class JinjaNamespace : JinjaValue
{
    public Dictionary<string, JinjaValue> Attributes { get; } = new(StringComparer.Ordinal);

    internal override string TypeName => "Namespace";
}

/// <summary>What <c>cycler(...)</c> gives.</summary>
internal sealed class JinjaCycler(JinjaValue[] items) : JinjaValue
{
    public JinjaValue[] Items { get; } = items;

    public int Position { get; set; }

    internal override string TypeName => "Cycler";
}
