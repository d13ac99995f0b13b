using System.Globalization;
using System.Numerics;
using System.Text.Json;

namespace Nibble.Llm.Templates;

/// <summary>
/// A value inside a template. The set of kinds is closed: none, bool, int, float, string, list, dict, function and undefined
/// (and the template's own loop and namespace objects); no .NET object is reachable from a template.
/// </summary>
public abstract class JinjaValue
{
    private protected JinjaValue()
    {
    }

    /// <summary>Python's None.</summary>
    public static JinjaValue None { get; } = new JinjaNone();

    /// <summary>Python's True.</summary>
    public static JinjaValue True { get; } = new JinjaBool(true);

    /// <summary>Python's False.</summary>
    public static JinjaValue False { get; } = new JinjaBool(false);

    /// <summary>The name of the type as Python shows it.</summary>
    internal abstract string TypeName { get; }

    /// <summary>Python's truth value.</summary>
    internal virtual bool IsTrue => true;

    /// <summary>A string that came from input: no special token is parsed in it.</summary>
    public static JinjaValue Input(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        return JinjaString.Of(PythonText.ReplaceLoneSurrogates(text), isLiteral: false);
    }

    /// <summary>A string that the template's author stands for, such as the model's BOS token: special tokens are parsed in it.</summary>
    public static JinjaValue Literal(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        return JinjaString.Of(PythonText.ReplaceLoneSurrogates(text), isLiteral: true);
    }

    /// <summary>A bool.</summary>
    public static JinjaValue From(bool value) => value ? True : False;

    /// <summary>An int.</summary>
    public static JinjaValue From(long value) => JinjaInt.Of(value);

    /// <summary>A float.</summary>
    public static JinjaValue From(double value) => new JinjaFloat(value);

    /// <summary>A list.</summary>
    public static JinjaValue List(IEnumerable<JinjaValue> items)
    {
        ArgumentNullException.ThrowIfNull(items);
        return new JinjaSequence(SequenceKind.List, items.ToArray());
    }

    /// <summary>A dict with string keys, in the order given; a repeated key keeps its place and takes the last value.</summary>
    public static JinjaValue Dict(IEnumerable<KeyValuePair<string, JinjaValue>> items)
    {
        ArgumentNullException.ThrowIfNull(items);
        JinjaDict dict = new();
        foreach ((string key, JinjaValue value) in items) dict.Items[Input(key)] = value;
        return dict;
    }

    /// <summary>
    /// The value of a JSON element; all its strings are input. Dicts keep the order of the file, and a number is an int
    /// unless it is written with a point or an exponent.
    /// </summary>
    /// <exception cref="ArgumentException">A number has more than <see cref="TemplateLimits.IntegerBits"/> bits, a string holds half of a surrogate pair, or values nest deeper than <see cref="TemplateLimits.Depth"/>.</exception>
    public static JinjaValue FromJson(JsonElement element) => FromJson(element, 0);

    private static JinjaValue FromJson(JsonElement element, int depth)
    {
        if (depth > TemplateLimits.Depth)
            throw new ArgumentException($"The JSON nests deeper than {TemplateLimits.Depth} levels, the bound for a template's context.", nameof(element));
        switch (element.ValueKind)
        {
            case JsonValueKind.Object:
                JinjaDict dict = new();
                foreach (JsonProperty property in element.EnumerateObject())
                    dict.Items[Text(() => property.Name)] = FromJson(property.Value, depth + 1);
                return dict;
            case JsonValueKind.Array:
                JinjaValue[] items = new JinjaValue[element.GetArrayLength()];
                int count = 0;
                foreach (JsonElement item in element.EnumerateArray()) items[count++] = FromJson(item, depth + 1);
                return new JinjaSequence(SequenceKind.List, items);
            case JsonValueKind.String:
                return Text(() => element.GetString()!);
            case JsonValueKind.Number:
                return Number(element.GetRawText());
            case JsonValueKind.True:
                return True;
            case JsonValueKind.False:
                return False;
            case JsonValueKind.Null:
                return None;
            default:
                throw new ArgumentException($"A JSON element of kind {element.ValueKind} has no value; parse the document first.", nameof(element));
        }

        static JinjaString Text(Func<string> read)
        {
            try
            {
                return JinjaString.Of(PythonText.ReplaceLoneSurrogates(read()), isLiteral: false);
            }
            catch (InvalidOperationException e)
            {
                throw new ArgumentException("A JSON string holds half of a surrogate pair, which is no text; remove it.", nameof(element), e);
            }
        }

        static JinjaValue Number(string raw)
        {
            if (raw.AsSpan().ContainsAny('.', 'e', 'E')) return new JinjaFloat(double.Parse(raw, CultureInfo.InvariantCulture));
            const int digitsPerBound = TemplateLimits.IntegerBits * 3 / 10;
            if (raw.Length > digitsPerBound)
                throw new ArgumentException($"A JSON integer has {raw.Length} digits; a template's context may have at most {digitsPerBound}.", nameof(element));
            return JinjaInt.Of(BigInteger.Parse(raw, CultureInfo.InvariantCulture));
        }
    }

    /// <summary>The value as Python's <c>str</c> shows it, at most <see cref="TemplateLimits.OutputBytes"/> long.</summary>
    public override string ToString() => PythonText.Str(RenderState.Detached(), this).Text;
}

internal sealed class JinjaNone : JinjaValue
{
    internal override string TypeName => "NoneType";

    internal override bool IsTrue => false;
}

internal sealed class JinjaBool(bool value) : JinjaValue
{
    public bool Value { get; } = value;

    internal override string TypeName => "bool";

    internal override bool IsTrue => Value;
}

internal sealed class JinjaInt : JinjaValue
{
    private static readonly JinjaInt[] Small = Enumerable.Range(-1, 1026).Select(i => new JinjaInt(i)).ToArray();

    private JinjaInt(BigInteger value) => Value = value;

    public BigInteger Value { get; }

    internal override string TypeName => "int";

    internal override bool IsTrue => !Value.IsZero;

    public static JinjaInt Of(long value) => value is >= -1 and < 1025 ? Small[value + 1] : new(value);

    public static JinjaInt Of(BigInteger value) => value >= -1 && value < 1025 ? Small[(int)value + 1] : new(value);
}

internal sealed class JinjaFloat(double value) : JinjaValue
{
    public double Value { get; } = value;

    internal override string TypeName => "float";

    internal override bool IsTrue => Value != 0;
}

/// <summary>
/// Jinja's default Undefined: prints as nothing, iterates as nothing, is false, and fails with <see cref="Message"/> in any other use.
/// </summary>
internal sealed class JinjaUndefined(string message) : JinjaValue
{
    /// <summary>Why the value is undefined, as the error says it.</summary>
    public string Message { get; } = message;

    internal override string TypeName => "Undefined";

    internal override bool IsTrue => false;
}
