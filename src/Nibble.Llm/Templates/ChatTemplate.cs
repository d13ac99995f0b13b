namespace Nibble.Llm.Templates;

/// <summary>A model's chat template: turns messages into a prompt. Immutable; many threads may render it at once.</summary>
public sealed class ChatTemplate
{
    /// <summary>
    /// The ChatML template, which stands in where a model has none that works (the format of OpenAI's ChatML, 2023:
    /// <c>&lt;|im_start|&gt;role</c>, newline, content, <c>&lt;|im_end|&gt;</c>, newline).
    /// </summary>
    public const string ChatMLSource =
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}" +
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

    private readonly JinjaTemplate _template;

    private ChatTemplate(JinjaTemplate template, string source, string bosText, string eosText, IReadOnlyList<string> warnings)
    {
        _template = template;
        Source = source;
        BosText = bosText;
        EosText = eosText;
        Warnings = warnings;
    }

    /// <summary>The source in use.</summary>
    public string Source { get; }

    /// <summary>The text of the template's variable <c>bos_token</c>.</summary>
    public string BosText { get; }

    /// <summary>The text of the template's variable <c>eos_token</c>.</summary>
    public string EosText { get; }

    /// <summary>Why ChatML stands in for the model's own template; empty where it does not. Show these to the user.</summary>
    public IReadOnlyList<string> Warnings { get; }

    /// <summary>True where ChatML stands in for a missing or broken template.</summary>
    public bool IsFallback => Warnings.Count > 0;

    /// <summary>A template from its source.</summary>
    /// <exception cref="TemplateException">The source is no valid template.</exception>
    public static ChatTemplate Parse(string source, string bosText = "", string eosText = "")
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(bosText);
        ArgumentNullException.ThrowIfNull(eosText);
        return new(JinjaTemplate.Parse(source), source, bosText, eosText, []);
    }

    /// <summary>ChatML.</summary>
    public static ChatTemplate ChatML(string bosText = "", string eosText = "") => Parse(ChatMLSource, bosText, eosText);

    /// <summary>
    /// The template of a model file (<c>tokenizer.chat_template</c>), or ChatML with an entry in <see cref="Warnings"/> where the
    /// file has none or one that does not parse.
    /// </summary>
    /// <param name="source">The template, or null where the file has none.</param>
    /// <param name="bosText">The text of the vocabulary's BOS token; empty without one.</param>
    /// <param name="eosText">The text of the vocabulary's EOS token; empty without one.</param>
    public static ChatTemplate Create(string? source, string bosText, string eosText)
    {
        if (string.IsNullOrWhiteSpace(source))
            return Fallback("The model has no chat template; ChatML is used instead, which the model may not know.", bosText, eosText);
        try
        {
            return Parse(source, bosText, eosText);
        }
        catch (TemplateException e)
        {
            return Fallback($"The model's chat template is broken; ChatML is used instead, which the model may not know. {e.Message}", bosText, eosText);
        }
    }

    /// <summary>Renders a conversation.</summary>
    /// <param name="messages">The messages, oldest first.</param>
    /// <param name="addGenerationPrompt">True to end with the opening of the assistant's turn.</param>
    /// <param name="now">The local time, which some templates show the model.</param>
    /// <param name="tools">The tools offered, as a list of JSON schema dicts; null for none (the template then sees None, as in transformers; a template made only for tools may refuse that and want an empty list).</param>
    /// <param name="variables">Further variables for the template (<c>chat_template_kwargs</c>), such as <c>enable_thinking</c>; they win over the others.</param>
    /// <exception cref="TemplateException">Rendering failed, the template refused the conversation, or a bound of <see cref="TemplateLimits"/> was exceeded.</exception>
    public RenderedPrompt Render(
        IReadOnlyList<ChatMessage> messages, bool addGenerationPrompt, DateTimeOffset now, JinjaValue? tools = null, IReadOnlyDictionary<string, JinjaValue>? variables = null)
    {
        ArgumentNullException.ThrowIfNull(messages);
        Dictionary<string, JinjaValue> context = new(StringComparer.Ordinal)
        {
            ["messages"] = JinjaValue.List(messages.Select(message => message.ToValue())),
            ["tools"] = tools ?? JinjaValue.None,
            ["documents"] = JinjaValue.None,
            ["add_generation_prompt"] = JinjaValue.From(addGenerationPrompt),
            ["bos_token"] = JinjaValue.Literal(BosText),
            ["eos_token"] = JinjaValue.Literal(EosText),
        };
        foreach ((string name, JinjaValue value) in variables ?? new Dictionary<string, JinjaValue>()) context[name] = value;
        return _template.Render(context, now);
    }

    private static ChatTemplate Fallback(string warning, string bosText, string eosText) =>
        new(JinjaTemplate.Parse(ChatMLSource), ChatMLSource, bosText, eosText, [warning]);
}
