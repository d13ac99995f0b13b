namespace Nibble.Llm.Templates;

/// <summary>The evaluated arguments of a call.</summary>
internal sealed class CallArguments(JinjaValue[] positional, IReadOnlyList<KeyValuePair<string, JinjaValue>> named)
{
    public static readonly CallArguments Empty = new([], []);

    public JinjaValue[] Positional { get; } = positional;

    public IReadOnlyList<KeyValuePair<string, JinjaValue>> Named { get; } = named;

    public JinjaValue? FindNamed(string name)
    {
        foreach ((string key, JinjaValue value) in Named)
            if (key == name)
                return value;
        return null;
    }
}

/// <summary>Runs a native function on bound arguments: one entry per parameter, null where an optional one was not given.</summary>
internal delegate JinjaValue NativeBody(RenderState state, JinjaValue self, JinjaValue?[] arguments);

/// <summary>Runs a native function that takes any arguments.</summary>
internal delegate JinjaValue NativeVariadicBody(RenderState state, JinjaValue self, CallArguments arguments);

/// <summary>A filter, test, method or global written in C#, with its signature.</summary>
internal sealed class Native
{
    private readonly string[] _parameters;
    private readonly int _required;
    private readonly bool _positionalOnly;
    private readonly NativeBody? _body;
    private readonly NativeVariadicBody? _variadic;

    /// <summary>
    /// A function with a fixed signature: parameter names separated by spaces, <c>?</c> after an optional one, and a final
    /// <c>/</c> where none may be given by name.
    /// </summary>
    public Native(string name, string signature, NativeBody body)
    {
        Name = name;
        string[] words = signature.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        _positionalOnly = words is [.., "/"];
        if (_positionalOnly) words = words[..^1];
        _required = words.Count(word => !word.EndsWith('?'));
        _parameters = words.Select(word => word.TrimEnd('?')).ToArray();
        _body = body;
    }

    /// <summary>A function that takes any arguments.</summary>
    public Native(string name, NativeVariadicBody body)
    {
        Name = name;
        _parameters = [];
        _variadic = body;
    }

    public string Name { get; }

    public JinjaValue Invoke(RenderState state, JinjaValue self, CallArguments arguments) =>
        _variadic is not null ? _variadic(state, self, arguments) : _body!(state, self, Bind(state, arguments));

    private JinjaValue?[] Bind(RenderState state, CallArguments arguments)
    {
        JinjaValue?[] bound = new JinjaValue?[_parameters.Length];
        if (arguments.Positional.Length > bound.Length)
            throw state.Error($"{Name}() takes at most {bound.Length} argument(s), {arguments.Positional.Length} given");
        arguments.Positional.CopyTo(bound, 0);
        foreach ((string name, JinjaValue value) in arguments.Named)
        {
            int index = _positionalOnly ? -1 : Array.IndexOf(_parameters, name);
            if (index < 0) throw state.Error($"{Name}() got an unexpected keyword argument '{name}'");
            if (bound[index] is not null) throw state.Error($"{Name}() got two values for argument '{name}'");
            bound[index] = value;
        }
        for (int i = 0; i < _required; i++)
            if (bound[i] is null)
                throw state.Error($"{Name}() needs the argument '{_parameters[i]}'");
        return bound;
    }
}

/// <summary>A callable value: a global, or a method bound to its object.</summary>
internal sealed class JinjaFunction(Native native, JinjaValue self) : JinjaValue
{
    public string Name => native.Name;

    internal override string TypeName => "builtin_function_or_method";

    public JinjaValue Call(RenderState state, CallArguments arguments) => native.Invoke(state, self, arguments);
}
