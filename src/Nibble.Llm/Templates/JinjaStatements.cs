using System.Runtime.CompilerServices;

namespace Nibble.Llm.Templates;

/// <summary>How a statement ended.</summary>
internal enum Flow
{
    Normal,
    Break,
    Continue,
}

/// <summary>A node of the template's body.</summary>
internal abstract class Statement(int position)
{
    /// <summary>Offset in the source.</summary>
    public int Position { get; } = position;

    public abstract Flow Execute(RenderState state);

    public static Flow ExecuteAll(RenderState state, IReadOnlyList<Statement> body)
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        foreach (Statement statement in body)
        {
            state.Position = statement.Position;
            state.ChargeStep();
            Flow flow = statement.Execute(state);
            if (flow != Flow.Normal) return flow;
        }
        return Flow.Normal;
    }

    /// <summary>Binds a value to a name, or the items of an iterable to a tuple of targets, or sets a namespace's attribute.</summary>
    protected static void Assign(RenderState state, Expression target, JinjaValue value)
    {
        switch (target)
        {
            case NameExpression name:
                state.Scope.Set(name.Name, value);
                break;
            case SequenceExpression tuple:
                ArraySegment<JinjaValue> items = PythonOperators.Iterate(state, value);
                state.Position = target.Position;
                if (items.Count < tuple.Items.Length) throw state.Error($"not enough values to unpack (expected {tuple.Items.Length}, got {items.Count})");
                if (items.Count > tuple.Items.Length) throw state.Error($"too many values to unpack (expected {tuple.Items.Length})");
                for (int i = 0; i < items.Count; i++) Assign(state, tuple.Items[i], items[i]);
                break;
            case NamespaceTarget field:
                state.Position = target.Position;
                if (state.Scope.Find(field.Name) is not JinjaNamespace space) throw state.Error("cannot assign attribute on non-namespace object");
                space.Attributes[field.Attribute] = value;
                break;
        }
    }
}

/// <summary>The target of <c>set ns.name = ...</c>; it has no value of its own.</summary>
internal sealed class NamespaceTarget(string name, string attribute, int position) : Expression(position)
{
    public string Name { get; } = name;

    public string Attribute { get; } = attribute;

    protected override JinjaValue EvaluateCore(RenderState state) => throw new NotSupportedException("A target of 'set' is never read.");
}

internal sealed class DataStatement(string text, int position) : Statement(position)
{
    private readonly MarkedText _text = MarkedText.Of(text, isLiteral: true);

    public override Flow Execute(RenderState state)
    {
        state.Write(_text);
        return Flow.Normal;
    }
}

internal sealed class OutputStatement(Expression value, int position) : Statement(position)
{
    public override Flow Execute(RenderState state)
    {
        JinjaValue result = value.Evaluate(state);
        state.Position = Position;
        state.Write(PythonText.Str(state, result));
        return Flow.Normal;
    }
}

internal sealed class IfStatement(IReadOnlyList<(Expression Test, IReadOnlyList<Statement> Body)> branches, IReadOnlyList<Statement> otherwise, int position) : Statement(position)
{
    public override Flow Execute(RenderState state)
    {
        foreach ((Expression test, IReadOnlyList<Statement> body) in branches)
            if (test.Evaluate(state).IsTrue)
                return ExecuteAll(state, body);
        return ExecuteAll(state, otherwise);
    }
}

internal sealed class SetStatement(Expression target, Expression value, int position) : Statement(position)
{
    public override Flow Execute(RenderState state)
    {
        JinjaValue result = value.Evaluate(state);
        state.Position = Position;
        Assign(state, target, result);
        return Flow.Normal;
    }
}

internal sealed class SetBlockStatement(Expression target, FilterExpression? filter, IReadOnlyList<Statement> body, int position) : Statement(position)
{
    public override Flow Execute(RenderState state)
    {
        JinjaValue text = state.Capture(new(state.Scope), () => ExecuteAll(state, body));
        if (filter is not null) text = filter.ApplyChain(state, text);
        state.Position = Position;
        Assign(state, target, text);
        return Flow.Normal;
    }
}

internal sealed class FilterBlockStatement(FilterExpression filter, IReadOnlyList<Statement> body, int position) : Statement(position)
{
    public override Flow Execute(RenderState state)
    {
        JinjaValue text = filter.ApplyChain(state, state.Capture(new(state.Scope), () => ExecuteAll(state, body)));
        state.Position = Position;
        state.Write(PythonText.Str(state, text));
        return Flow.Normal;
    }
}

internal sealed class WithStatement(IReadOnlyList<(Expression Target, Expression Value)> assignments, IReadOnlyList<Statement> body, int position) : Statement(position)
{
    public override Flow Execute(RenderState state)
    {
        Scope outer = state.Scope;
        JinjaValue[] values = assignments.Select(assignment => assignment.Value.Evaluate(state)).ToArray();
        state.Scope = new(outer);
        try
        {
            for (int i = 0; i < values.Length; i++) Assign(state, assignments[i].Target, values[i]);
            return ExecuteAll(state, body);
        }
        finally
        {
            state.Scope = outer;
        }
    }
}

/// <summary>The tag <c>generation</c> with which trainers mark the assistant's text; it renders its body.</summary>
internal sealed class GenerationStatement(IReadOnlyList<Statement> body, int position) : Statement(position)
{
    public override Flow Execute(RenderState state)
    {
        state.Write(state.Capture(new(state.Scope), () => ExecuteAll(state, body)).Flat(state));
        return Flow.Normal;
    }
}

internal sealed class JumpStatement(Flow flow, int position) : Statement(position)
{
    public override Flow Execute(RenderState state) => flow;
}

internal sealed class ForStatement(
    Expression target, Expression source, Expression? filter, bool isRecursive, IReadOnlyList<Statement> body, IReadOnlyList<Statement> otherwise, int position) : Statement(position)
{
    public override Flow Execute(RenderState state)
    {
        JinjaValue items = source.Evaluate(state);
        Run(state, items, state.Scope, 0);
        return Flow.Normal;
    }

    /// <summary>Runs the loop; a recursive loop calls this through <c>loop(items)</c>, in the scope in which the loop stands.</summary>
    private void Run(RenderState state, JinjaValue source, Scope outer, int depth)
    {
        state.Position = Position;
        ArraySegment<JinjaValue> segment = PythonOperators.Iterate(state, source);
        JinjaValue[] items = filter is null && segment.Offset == 0 && segment.Count == (segment.Array?.Length ?? 0) ? segment.Array ?? [] : segment.ToArray();
        Scope caller = state.Scope;
        try
        {
            if (filter is not null) items = Filter(state, items, outer);
            JinjaLoop loop = new(items, depth);
            if (isRecursive) loop.Recurse = inner => Recurse(state, inner, outer, depth + 1);
            for (int i = 0; i < items.Length; i++)
            {
                state.Scope = new(outer);
                state.ChargeStep();
                loop.Index = i;
                Assign(state, target, items[i]);
                state.Scope.Set("loop", loop);
                if (ExecuteAll(state, body) == Flow.Break) break;
            }
            if (items.Length == 0)
            {
                state.Scope = new(outer);
                ExecuteAll(state, otherwise);
            }
        }
        finally
        {
            state.Scope = caller;
        }
    }

    private JinjaValue[] Filter(RenderState state, JinjaValue[] items, Scope outer)
    {
        List<JinjaValue> kept = [];
        foreach (JinjaValue item in items)
        {
            state.Scope = new(outer);
            state.ChargeStep();
            Assign(state, target, item);
            if (filter!.Evaluate(state).IsTrue) kept.Add(item);
        }
        return kept.ToArray();
    }

    private JinjaString Recurse(RenderState state, JinjaValue items, Scope outer, int depth)
    {
        state.Enter();
        JinjaString text = state.Capture(outer, () => Run(state, items, outer, depth));
        state.Leave();
        return text;
    }
}

/// <summary>The variable <c>loop</c>.</summary>
internal sealed class JinjaLoop(JinjaValue[] items, int depth) : JinjaValue
{
    public JinjaValue[] Items { get; } = items;

    /// <summary>The iteration, counted from 0.</summary>
    public int Index { get; set; }

    /// <summary>How many recursive levels lie around this one.</summary>
    public int Depth { get; } = depth;

    /// <summary>Renders the loop on other items; null where the loop is not recursive.</summary>
    public Func<JinjaValue, JinjaString>? Recurse { get; set; }

    /// <summary>What <c>loop.changed</c> was last given.</summary>
    public JinjaValue? LastChanged { get; set; }

    internal override string TypeName => "LoopContext";
}

/// <summary>Parameters and body of a macro or call block.</summary>
internal sealed record MacroDefinition(string Name, IReadOnlyList<(string Name, Expression? Default)> Parameters, IReadOnlyList<Statement> Body, bool UsesVarargs, bool UsesKwargs, bool UsesCaller);

internal sealed class MacroStatement(MacroDefinition definition, int position) : Statement(position)
{
    public override Flow Execute(RenderState state)
    {
        state.Scope.Set(definition.Name, new JinjaMacro(definition, state.Scope));
        return Flow.Normal;
    }
}

internal sealed class CallBlockStatement(CallExpression call, MacroDefinition definition, int position) : Statement(position)
{
    public override Flow Execute(RenderState state)
    {
        JinjaValue text = call.Call(state, new JinjaMacro(definition, state.Scope));
        state.Position = Position;
        state.Write(PythonText.Str(state, text));
        return Flow.Normal;
    }
}

/// <summary>A macro with the scope it was defined in.</summary>
internal sealed class JinjaMacro(MacroDefinition definition, Scope closure) : JinjaValue
{
    public string Name => definition.Name;

    public MacroDefinition Definition => definition;

    internal override string TypeName => "Macro";

    public JinjaString Call(RenderState state, CallArguments arguments)
    {
        state.Enter();
        Scope scope = new(closure);
        int position = state.Position;
        JinjaString text = state.Capture(scope, () =>
        {
            Bind(state, scope, arguments, position);
            Statement.ExecuteAll(state, definition.Body);
        });
        state.Leave();
        return text;
    }

    private void Bind(RenderState state, Scope scope, CallArguments arguments, int position)
    {
        List<KeyValuePair<string, JinjaValue>> rest = arguments.Named.ToList();
        HashSet<string> given = new(StringComparer.Ordinal);
        for (int i = 0; i < definition.Parameters.Count; i++)
        {
            string name = definition.Parameters[i].Name;
            int index = rest.FindIndex(pair => pair.Key == name);
            JinjaValue? value = i < arguments.Positional.Length ? arguments.Positional[i] : null;
            if (index >= 0)
            {
                if (value is not null) throw state.Error($"macro '{Name}' got two values for argument '{name}'");
                value = rest[index].Value;
                rest.RemoveAt(index);
            }
            if (value is null) continue;
            scope.Set(name, value);
            given.Add(name);
        }
        // A default may name the parameters before it, so defaults are evaluated in the macro's scope, in order.
        foreach ((string name, Expression? fallback) in definition.Parameters)
        {
            if (given.Contains(name)) continue;
            scope.Set(name, new JinjaUndefined($"parameter '{name}' was not provided"));
            if (fallback is not null) scope.Set(name, fallback.Evaluate(state));
        }
        state.Position = position;
        BindRest(state, scope, arguments, rest);
    }

    private void BindRest(RenderState state, Scope scope, CallArguments arguments, List<KeyValuePair<string, JinjaValue>> rest)
    {
        int caller = rest.FindIndex(pair => pair.Key == "caller");
        if (definition.UsesCaller)
        {
            scope.Set("caller", caller >= 0 ? rest[caller].Value : new JinjaUndefined("No caller defined"));
            if (caller >= 0) rest.RemoveAt(caller);
        }
        if (definition.UsesKwargs)
        {
            JinjaDict named = new();
            foreach ((string key, JinjaValue value) in rest) named.Items[JinjaString.Of(key, isLiteral: false)] = value;
            scope.Set("kwargs", named);
        }
        else if (rest.Count > 0)
        {
            throw state.Error(rest[0].Key == "caller" && !definition.UsesCaller
                ? $"macro '{Name}' was called by a call block but does not use caller()"
                : $"macro '{Name}' takes no keyword argument '{rest[0].Key}'");
        }
        int count = definition.Parameters.Count;
        if (definition.UsesVarargs)
            scope.Set("varargs", new JinjaSequence(SequenceKind.Tuple, arguments.Positional.Skip(count).ToArray()));
        else if (arguments.Positional.Length > count)
            throw state.Error($"macro '{Name}' takes not more than {count} argument(s)");
    }
}
