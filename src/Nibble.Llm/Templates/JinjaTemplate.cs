using System.Text;
using System.Text.Json;

namespace Nibble.Llm.Templates;

/// <summary>
/// A Jinja template as Hugging Face chat templates are written: jinja2 3.1 with transformers' settings (trim_blocks,
/// lstrip_blocks, loop controls, the tag <c>generation</c>, an immutable sandbox, <c>tojson</c> without HTML escaping).
/// A template is immutable; many threads may render it at once.
/// </summary>
public sealed class JinjaTemplate
{
    private readonly SourceText _source;
    private readonly IReadOnlyList<Statement> _body;

    private JinjaTemplate(SourceText source, IReadOnlyList<Statement> body)
    {
        _source = source;
        _body = body;
    }

    /// <summary>Parses a template.</summary>
    /// <exception cref="TemplateException">The source is no valid template, names an unknown tag, filter or test, or exceeds a bound of <see cref="TemplateLimits"/>.</exception>
    public static JinjaTemplate Parse(string source)
    {
        ArgumentNullException.ThrowIfNull(source);
        int bytes = Encoding.UTF8.GetByteCount(source);
        if (bytes > TemplateLimits.SourceBytes)
            throw SourceText.None.Error(TemplateErrorKind.Limit, $"the source of {bytes} bytes exceeds the bound of {TemplateLimits.SourceBytes}", 0);
        SourceText text = JinjaLexer.Normalize(source);
        try
        {
            return new(text, JinjaParser.Parse(text));
        }
        catch (InsufficientExecutionStackException)
        {
            throw text.Error(TemplateErrorKind.Limit, "the template nests too deep for the stack", 0);
        }
    }

    /// <summary>Renders with the variables of a JSON object. All its strings are input.</summary>
    /// <param name="context">A JSON object with <c>messages</c>, <c>add_generation_prompt</c>, and so on.</param>
    /// <param name="now">The local time that <c>strftime_now</c> formats.</param>
    /// <param name="literals">Variables whose text special tokens are parsed in, such as <c>bos_token</c>; they win over the context's.</param>
    /// <exception cref="ArgumentException"><paramref name="context"/> is no JSON object, or <see cref="JinjaValue.FromJson(JsonElement)"/> refuses it.</exception>
    /// <exception cref="TemplateException">Rendering failed, the template refused the conversation, or a bound was exceeded.</exception>
    public RenderedPrompt Render(JsonElement context, DateTimeOffset now, IReadOnlyDictionary<string, string>? literals = null)
    {
        if (context.ValueKind != JsonValueKind.Object)
            throw new ArgumentException($"A template's context is a JSON object, not {context.ValueKind}.", nameof(context));
        Dictionary<string, JinjaValue> variables = new(StringComparer.Ordinal);
        foreach (JsonProperty property in context.EnumerateObject()) variables[property.Name] = JinjaValue.FromJson(property.Value);
        foreach ((string name, string text) in literals ?? new Dictionary<string, string>()) variables[name] = JinjaValue.Literal(text);
        return Render(variables, now);
    }

    /// <summary>Renders with the given variables.</summary>
    /// <param name="variables">The variables by name.</param>
    /// <param name="now">The local time that <c>strftime_now</c> formats.</param>
    /// <exception cref="TemplateException">Rendering failed, the template refused the conversation, or a bound was exceeded.</exception>
    public RenderedPrompt Render(IReadOnlyDictionary<string, JinjaValue> variables, DateTimeOffset now)
    {
        ArgumentNullException.ThrowIfNull(variables);
        Scope context = new(null);
        foreach ((string name, JinjaValue value) in variables) context.Set(name, value);
        RenderState state = new(_source, new Scope(context), now);
        try
        {
            Statement.ExecuteAll(state, _body);
            return new(state.Output.ToText());
        }
        catch (InsufficientExecutionStackException)
        {
            throw state.LimitError("values or expressions nest too deep for the stack");
        }
    }
}
