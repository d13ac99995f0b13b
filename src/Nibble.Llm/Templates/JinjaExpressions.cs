using System.Runtime.CompilerServices;

namespace Nibble.Llm.Templates;

/// <summary>A node of an expression.</summary>
internal abstract class Expression(int position)
{
    /// <summary>Offset in the source.</summary>
    public int Position { get; } = position;

    public JinjaValue Evaluate(RenderState state)
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        state.ChargeNode();
        return EvaluateCore(state);
    }

    protected abstract JinjaValue EvaluateCore(RenderState state);
}

internal sealed class ConstantExpression(JinjaValue value, int position) : Expression(position)
{
    public JinjaValue Value { get; } = value;

    protected override JinjaValue EvaluateCore(RenderState state) => Value;
}

internal sealed class NameExpression(string name, int position) : Expression(position)
{
    public string Name { get; } = name;

    protected override JinjaValue EvaluateCore(RenderState state) =>
        state.Scope.Find(Name) ?? JinjaGlobals.Find(Name) ?? new JinjaUndefined($"'{Name}' is undefined");
}

internal sealed class SequenceExpression(SequenceKind kind, Expression[] items, int position) : Expression(position)
{
    public SequenceKind Kind { get; } = kind;

    public Expression[] Items { get; } = items;

    protected override JinjaValue EvaluateCore(RenderState state)
    {
        JinjaValue[] values = new JinjaValue[Items.Length];
        for (int i = 0; i < values.Length; i++) values[i] = Items[i].Evaluate(state);
        return new JinjaSequence(Kind, values);
    }
}

internal sealed class DictExpression(IReadOnlyList<(Expression Key, Expression Value)> pairs, int position) : Expression(position)
{
    protected override JinjaValue EvaluateCore(RenderState state)
    {
        JinjaDict dict = new();
        foreach ((Expression key, Expression value) in pairs)
        {
            JinjaValue name = key.Evaluate(state);
            JinjaValue item = value.Evaluate(state);
            state.Position = key.Position;
            dict.Items[PythonOperators.Hashable(state, name)] = item;
        }
        return dict;
    }
}

internal sealed class AttributeExpression(Expression target, string name, int position) : Expression(position)
{
    private readonly JinjaString _key = JinjaString.Of(name, isLiteral: true);

    protected override JinjaValue EvaluateCore(RenderState state)
    {
        JinjaValue owner = target.Evaluate(state);
        state.Position = Position;
        return JinjaAttributes.GetAttribute(state, owner, name, _key);
    }
}

internal sealed class ItemExpression(Expression target, Expression key, int position) : Expression(position)
{
    protected override JinjaValue EvaluateCore(RenderState state)
    {
        JinjaValue owner = target.Evaluate(state);
        JinjaValue index = key.Evaluate(state);
        state.Position = Position;
        return JinjaAttributes.GetItem(state, owner, index);
    }
}

internal sealed class SliceExpression(Expression target, Expression? start, Expression? stop, Expression? step, int position) : Expression(position)
{
    protected override JinjaValue EvaluateCore(RenderState state)
    {
        JinjaValue owner = target.Evaluate(state);
        JinjaValue? from = start?.Evaluate(state);
        JinjaValue? to = stop?.Evaluate(state);
        JinjaValue? by = step?.Evaluate(state);
        state.Position = Position;
        return JinjaAttributes.GetSlice(state, owner, from, to, by);
    }
}

/// <summary>The unevaluated arguments of a call, filter or test.</summary>
internal sealed class ArgumentList(Expression[] positional, IReadOnlyList<(string Name, Expression Value)> named, Expression? spread, Expression? namedSpread)
{
    public static readonly ArgumentList Empty = new([], [], null, null);

    public CallArguments Evaluate(RenderState state, JinjaValue? caller = null)
    {
        if (positional.Length == 0 && named.Count == 0 && spread is null && namedSpread is null && caller is null) return CallArguments.Empty;
        List<JinjaValue> values = new(positional.Length);
        foreach (Expression argument in positional) values.Add(argument.Evaluate(state));
        List<KeyValuePair<string, JinjaValue>> names = new(named.Count);
        foreach ((string name, Expression value) in named)
        {
            if (names.Exists(pair => pair.Key == name)) throw state.Error($"keyword argument repeated: {name}");
            names.Add(new(name, value.Evaluate(state)));
        }
        if (spread is not null)
        {
            ArraySegment<JinjaValue> items = PythonOperators.Iterate(state, spread.Evaluate(state));
            state.ChargeItems(items.Count);
            values.AddRange(items);
        }
        if (namedSpread is not null)
        {
            if (namedSpread.Evaluate(state) is not JinjaDict dict) throw state.Error("the argument after ** must be a mapping");
            state.ChargeItems(dict.Items.Count);
            foreach ((JinjaValue key, JinjaValue value) in dict.Items)
                names.Add(key is JinjaString text ? new(text.Flat(state).Text, value) : throw state.Error("keywords must be strings"));
        }
        if (caller is not null) names.Add(new("caller", caller));
        return new(values.ToArray(), names);
    }
}

internal sealed class CallExpression(Expression callee, ArgumentList arguments, int position) : Expression(position)
{
    protected override JinjaValue EvaluateCore(RenderState state) => Call(state, null);

    public JinjaValue Call(RenderState state, JinjaValue? caller)
    {
        JinjaValue function = callee.Evaluate(state);
        CallArguments values = arguments.Evaluate(state, caller);
        state.Position = Position;
        state.ChargeStep();
        return JinjaAttributes.Call(state, function, values);
    }
}

/// <summary>A filter; without a target (null) it filters a block's text, given to <see cref="Apply"/>.</summary>
internal sealed class FilterExpression(Expression? target, string name, ArgumentList arguments, int position) : Expression(position)
{
    protected override JinjaValue EvaluateCore(RenderState state) => Apply(state, target!.Evaluate(state));

    /// <summary>Runs a chain of filters whose innermost has no target on <paramref name="text"/>.</summary>
    public JinjaValue ApplyChain(RenderState state, JinjaValue text) =>
        Apply(state, target is FilterExpression inner ? inner.ApplyChain(state, text) : text);

    private JinjaValue Apply(RenderState state, JinjaValue value)
    {
        CallArguments values = arguments.Evaluate(state);
        state.Position = Position;
        return JinjaFilters.Apply(state, name, value, values);
    }
}

internal sealed class TestExpression(Expression target, string name, ArgumentList arguments, bool negated, int position) : Expression(position)
{
    protected override JinjaValue EvaluateCore(RenderState state)
    {
        JinjaValue value = target.Evaluate(state);
        CallArguments values = arguments.Evaluate(state);
        state.Position = Position;
        return JinjaValue.From(JinjaTests.Apply(state, name, value, values) != negated);
    }
}

internal sealed class ConditionalExpression(Expression test, Expression whenTrue, Expression? whenFalse, int position) : Expression(position)
{
    protected override JinjaValue EvaluateCore(RenderState state)
    {
        if (test.Evaluate(state).IsTrue) return whenTrue.Evaluate(state);
        return whenFalse?.Evaluate(state)
            ?? new JinjaUndefined("the inline if-expression evaluated to false and no else section was defined.");
    }
}

/// <summary><c>a and b and c</c> or <c>a or b or c</c>: the first operand that decides, as it is.</summary>
internal sealed class LogicalExpression(Expression[] operands, bool isAnd, int position) : Expression(position)
{
    protected override JinjaValue EvaluateCore(RenderState state)
    {
        JinjaValue value = operands[0].Evaluate(state);
        for (int i = 1; i < operands.Length && value.IsTrue == isAnd; i++) value = operands[i].Evaluate(state);
        return value;
    }
}

internal sealed class NotExpression(Expression operand, int position) : Expression(position)
{
    protected override JinjaValue EvaluateCore(RenderState state) => JinjaValue.From(!operand.Evaluate(state).IsTrue);
}

internal sealed class SignExpression(Expression operand, bool negative, int position) : Expression(position)
{
    protected override JinjaValue EvaluateCore(RenderState state)
    {
        JinjaValue value = operand.Evaluate(state);
        state.Position = Position;
        return PythonOperators.Negate(state, value, negative);
    }
}

/// <summary>A chain of left-associative operators of one precedence, evaluated in a loop so that its length costs no stack.</summary>
internal sealed class ArithmeticExpression(Expression first, IReadOnlyList<(string Operator, Expression Operand, int Position)> rest, int position) : Expression(position)
{
    private static readonly Dictionary<string, Func<RenderState, JinjaValue, JinjaValue, JinjaValue>> Table = new()
    {
        ["+"] = PythonOperators.Add,
        ["-"] = PythonOperators.Subtract,
        ["*"] = PythonOperators.Multiply,
        ["/"] = PythonOperators.Divide,
        ["//"] = PythonOperators.FloorDivide,
        ["%"] = PythonOperators.Modulo,
        ["**"] = PythonOperators.Power,
    };

    protected override JinjaValue EvaluateCore(RenderState state)
    {
        JinjaValue value = first.Evaluate(state);
        foreach ((string operation, Expression operand, int offset) in rest)
        {
            JinjaValue right = operand.Evaluate(state);
            state.Position = offset;
            value = Table[operation](state, value, right);
        }
        return value;
    }
}

internal sealed class ConcatExpression(Expression[] operands, int position) : Expression(position)
{
    protected override JinjaValue EvaluateCore(RenderState state)
    {
        JinjaString text = JinjaString.Empty;
        foreach (Expression operand in operands)
        {
            JinjaValue value = operand.Evaluate(state);
            state.Position = Position;
            text = JinjaString.Concat(state, text, PythonText.StrValue(state, value));
        }
        return text;
    }
}

/// <summary>A chain of comparisons: <c>a &lt; b &lt; c</c> means both.</summary>
internal sealed class CompareExpression(Expression first, IReadOnlyList<(string Operator, Expression Operand)> rest, int position) : Expression(position)
{
    protected override JinjaValue EvaluateCore(RenderState state)
    {
        JinjaValue left = first.Evaluate(state);
        foreach ((string operation, Expression operand) in rest)
        {
            JinjaValue right = operand.Evaluate(state);
            state.Position = Position;
            if (!Holds(state, operation, left, right)) return JinjaValue.False;
            left = right;
        }
        return JinjaValue.True;
    }

    public static bool Holds(RenderState state, string operation, JinjaValue left, JinjaValue right) => operation switch
    {
        "==" => PythonOperators.AreEqual(state, left, right),
        "!=" => !PythonOperators.AreEqual(state, left, right),
        "in" => PythonOperators.Contains(state, right, left),
        "not in" => !PythonOperators.Contains(state, right, left),
        "<" => PythonOperators.Compare(state, left, right, operation) == -1,
        "<=" => PythonOperators.Compare(state, left, right, operation) is -1 or 0,
        ">" => PythonOperators.Compare(state, left, right, operation) == 1,
        ">=" => PythonOperators.Compare(state, left, right, operation) is 0 or 1,
        _ => throw new ArgumentOutOfRangeException(nameof(operation), operation, "Not a comparison."),
    };
}
