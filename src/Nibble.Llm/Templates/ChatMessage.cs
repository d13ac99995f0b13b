namespace Nibble.Llm.Templates;

/// <summary>One message of a conversation.</summary>
/// <param name="Role">Who speaks: <c>system</c>, <c>user</c>, <c>assistant</c>, <c>tool</c>, or another role the template knows.</param>
/// <param name="Content">What is said. It stays plain text: no special token is parsed in it.</param>
public sealed record ChatMessage(string Role, string Content)
{
    /// <summary>Further fields of the message for the template, such as <c>tool_calls</c>, <c>tool_call_id</c>, <c>name</c> or <c>reasoning_content</c>; one named <c>role</c> or <c>content</c> takes the place of the property.</summary>
    public IReadOnlyDictionary<string, JinjaValue> Fields { get; init; } = new Dictionary<string, JinjaValue>();

    internal JinjaValue ToValue()
    {
        Dictionary<string, JinjaValue> fields = new(StringComparer.Ordinal)
        {
            ["role"] = JinjaValue.Input(Role),
            ["content"] = JinjaValue.Input(Content),
        };
        List<string> order = ["role", "content"];
        foreach ((string name, JinjaValue value) in Fields)
        {
            if (!fields.ContainsKey(name)) order.Add(name);
            fields[name] = value;
        }
        return JinjaValue.Dict(order.Select(name => KeyValuePair.Create(name, fields[name])));
    }
}
