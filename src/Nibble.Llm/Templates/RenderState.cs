using System.Runtime.CompilerServices;
using System.Text;

namespace Nibble.Llm.Templates;

/// <summary>Variables of one block; a name is looked up from the inside out.</summary>
internal sealed class Scope(Scope? parent)
{
    private readonly Dictionary<string, JinjaValue> _variables = new(StringComparer.Ordinal);

    public void Set(string name, JinjaValue value) => _variables[name] = value;

    public JinjaValue? Find(string name)
    {
        for (Scope? scope = this; scope is not null; scope = scope.Parent)
            if (scope._variables.TryGetValue(name, out JinjaValue? value))
                return value;
        return null;
    }

    private Scope? Parent { get; } = parent;
}

/// <summary>One rendering under way: where it is, what it has spent, and where its text goes.</summary>
internal sealed class RenderState
{
    private const int UnitsPerStep = 16;
    private const int CharactersPerUnit = 4;
    private const int UnitsPerItem = 4;

    private readonly SourceText _source;
    private long _units;
    private int _depth;
    private long _outputBytes;

    public RenderState(SourceText source, Scope scope, DateTimeOffset now)
    {
        _source = source;
        Scope = scope;
        Now = now;
        Output = new();
    }

    public Scope Scope { get; set; }

    /// <summary>Where output statements write: the prompt, or the body of a macro or block being captured.</summary>
    public MarkedTextBuilder Output { get; set; }

    /// <summary>True while <see cref="Output"/> is a captured body and not the prompt.</summary>
    public bool IsCapturing { get; set; }

    public DateTimeOffset Now { get; }

    /// <summary>Offset in the source of what is being evaluated, for errors.</summary>
    public int Position { get; set; }

    /// <summary>A state for work outside a rendering, with its own budget.</summary>
    public static RenderState Detached() => new(SourceText.None, new Scope(null), DateTimeOffset.UnixEpoch);

    public void ChargeNode() => Charge(1);

    public void ChargeStep() => Charge(UnitsPerStep);

    public void ChargeText(long characters) => Charge(characters / CharactersPerUnit);

    public void ChargeItems(long count) => Charge(Math.Min(count, long.MaxValue / 64) * UnitsPerItem);

    public void CheckStringLength(long length)
    {
        if (length > TemplateLimits.OutputBytes)
            throw LimitError($"a string of {length} characters exceeds the bound of {TemplateLimits.OutputBytes}");
    }

    /// <summary>Writes text to the current output.</summary>
    public void Write(MarkedText text)
    {
        ChargeText(text.Text.Length);
        if (IsCapturing)
        {
            CheckStringLength((long)Output.Length + text.Text.Length);
        }
        else
        {
            _outputBytes += Encoding.UTF8.GetByteCount(text.Text);
            if (_outputBytes > TemplateLimits.OutputBytes)
                throw LimitError($"the output exceeds the bound of {TemplateLimits.OutputBytes} bytes");
        }
        Output.Append(text);
    }

    /// <summary>Runs <paramref name="body"/> with its output caught, in a scope of its own.</summary>
    public JinjaString Capture(Scope scope, Action body)
    {
        (MarkedTextBuilder output, bool capturing, Scope outer) = (Output, IsCapturing, Scope);
        Output = new();
        IsCapturing = true;
        Scope = scope;
        try
        {
            body();
            return new(Output.ToText());
        }
        finally
        {
            Output = output;
            IsCapturing = capturing;
            Scope = outer;
        }
    }

    /// <summary>Enters a macro or a level of a recursive loop; pair with <see cref="Leave"/>.</summary>
    public void Enter()
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        if (++_depth > TemplateLimits.Depth) throw LimitError($"calls nest deeper than the bound of {TemplateLimits.Depth}");
    }

    public void Leave() => _depth--;

    public TemplateException Error(string reason) => _source.Error(TemplateErrorKind.Runtime, reason, Position);

    public TemplateException LimitError(string reason) => _source.Error(TemplateErrorKind.Limit, reason, Position);

    public TemplateException RaisedError(string message) => _source.Error(TemplateErrorKind.Raised, message, Position);

    private void Charge(long units)
    {
        _units += units;
        if (_units > (long)TemplateLimits.Steps * UnitsPerStep)
            throw LimitError($"rendering takes more than the bound of {TemplateLimits.Steps} steps");
    }
}

/// <summary>A template's source after newlines were made <c>\n</c>, which turns offsets into lines and columns.</summary>
internal sealed class SourceText(string text)
{
    public static readonly SourceText None = new("");

    public string Text { get; } = text;

    public TemplateException Error(TemplateErrorKind kind, string reason, int offset)
    {
        ReadOnlySpan<char> before = Text.AsSpan(0, Math.Clamp(offset, 0, Text.Length));
        return new(kind, reason, before.Count('\n') + 1, before.Length - before.LastIndexOf('\n'));
    }
}
