using System.Globalization;
using System.Runtime.CompilerServices;

namespace Nibble.Llm.Templates;

/// <summary>Python's <c>json.dumps</c> as transformers' <c>tojson</c> calls it: no HTML escaping, Unicode kept unless asked otherwise.</summary>
internal sealed class JinjaJson(RenderState state, bool asciiOnly, MarkedText? indent, MarkedText itemSeparator, MarkedText keySeparator, bool sortKeys)
{
    private readonly MarkedTextBuilder _builder = new();

    public JinjaString Write(JinjaValue value)
    {
        Write(value, 0);
        state.CheckStringLength(_builder.Length);
        return new(_builder.ToText());
    }

    private void Write(JinjaValue value, int depth)
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        if (depth > TemplateLimits.Depth) throw state.LimitError($"a value nests deeper than the bound of {TemplateLimits.Depth}");
        state.ChargeNode();
        state.CheckStringLength(_builder.Length);
        switch (value)
        {
            case JinjaString text:
                WriteString(text);
                break;
            case JinjaDict dict:
                WriteDict(dict, depth);
                break;
            case JinjaSequence { Kind: SequenceKind.List or SequenceKind.Tuple } sequence:
                _builder.Append('[', false);
                for (int i = 0; i < sequence.Items.Length; i++)
                {
                    Separate(i, depth + 1);
                    Write(sequence.Items[i], depth + 1);
                }
                if (sequence.Items.Length > 0) NewLine(depth);
                _builder.Append(']', false);
                break;
            default:
                string? word = Scalar(value) ?? throw state.Error($"Object of type {value.TypeName} is not JSON serializable");
                _builder.Append(word, false);
                break;
        }
    }

    private void WriteDict(JinjaDict dict, int depth)
    {
        (JinjaValue Key, JinjaValue Item)[] pairs = dict.Items.Select(pair => (pair.Key, pair.Value)).ToArray();
        if (sortKeys) JinjaSequenceFilters.StableSort(state, pairs, reverse: false);
        _builder.Append('{', false);
        int count = 0;
        foreach ((JinjaValue key, JinjaValue item) in pairs)
        {
            Separate(count++, depth + 1);
            if (key is JinjaString text) WriteString(text);
            else if (Scalar(key) is { } word) _builder.Append($"\"{word}\"", false);
            else throw state.Error($"keys must be str, int, float, bool or None, not {key.TypeName}");
            _builder.Append(keySeparator);
            Write(item, depth + 1);
        }
        if (count > 0) NewLine(depth);
        _builder.Append('}', false);
    }

    private static string? Scalar(JinjaValue value) => value switch
    {
        JinjaNone => "null",
        JinjaBool flag => flag.Value ? "true" : "false",
        JinjaInt number => number.Value.ToString(CultureInfo.InvariantCulture),
        JinjaFloat { Value: double.NaN } => "NaN",
        JinjaFloat { Value: double.PositiveInfinity } => "Infinity",
        JinjaFloat { Value: double.NegativeInfinity } => "-Infinity",
        JinjaFloat number => PythonText.Float(number.Value),
        _ => null,
    };

    private void Separate(int index, int depth)
    {
        if (index > 0) _builder.Append(itemSeparator);
        NewLine(depth);
    }

    private void NewLine(int depth)
    {
        if (indent is null) return;
        state.ChargeText((long)indent.Text.Length * depth);
        state.CheckStringLength((long)_builder.Length + ((long)indent.Text.Length * depth));
        _builder.Append('\n', false);
        for (int i = 0; i < depth; i++) _builder.Append(indent);
    }

    private void WriteString(JinjaString text)
    {
        MarkedText flat = text.Flat(state);
        state.ChargeText(flat.Text.Length);
        _builder.Append('"', false);
        int start = 0;
        for (int i = 0; i < flat.Text.Length; i++)
        {
            char c = flat.Text[i];
            string? escape = c switch
            {
                '"' => "\\\"",
                '\\' => @"\\",
                '\n' => @"\n",
                '\r' => @"\r",
                '\t' => @"\t",
                '\b' => @"\b",
                '\f' => @"\f",
                < ' ' => $@"\u{(int)c:x4}",
                > '~' when asciiOnly => c == '\x7f' ? null : $@"\u{(int)c:x4}",
                _ => null,
            };
            if (escape is null) continue;
            _builder.Append(flat, start, i - start);
            _builder.Append(escape, flat.IsLiteralAt(i));
            start = i + 1;
        }
        _builder.Append(flat, start, flat.Text.Length - start);
        _builder.Append('"', false);
    }
}
