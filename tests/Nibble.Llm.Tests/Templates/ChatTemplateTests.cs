using System.Text.Json;
using Nibble.Llm.Templates;

namespace Nibble.Llm.Tests.Templates;

public sealed class ChatTemplateTests
{
    [Fact]
    public void A_missing_template_falls_back_to_ChatML_and_says_so()
    {
        ChatTemplate template = ChatTemplate.Create(null, "<s>", "</s>");
        Assert.True(template.IsFallback);
        Assert.Contains("no chat template", Assert.Single(template.Warnings), StringComparison.Ordinal);
        Assert.Equal("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", template.Render([new("user", "Hi")], true, default).Text);
    }

    [Fact]
    public void A_broken_template_falls_back_to_ChatML_and_says_why_and_where()
    {
        ChatTemplate template = ChatTemplate.Create("{{ messages|nope }}", "", "");
        Assert.Contains("line 1, column 13: no filter named 'nope'", Assert.Single(template.Warnings), StringComparison.Ordinal);
        Assert.Equal(ChatTemplate.ChatMLSource, template.Source);
    }

    [Fact]
    public void A_template_that_refuses_the_conversation_does_not_fall_back()
    {
        ChatTemplate template = ChatTemplate.Create("{{ raise_exception('System role not supported') }}", "", "");
        Assert.Empty(template.Warnings);
        Assert.Equal(TemplateErrorKind.Raised, Assert.Throws<TemplateException>(() => template.Render([new("system", "x")], true, default)).Kind);
    }

    [Fact]
    public void Extra_fields_tools_and_variables_reach_the_template()
    {
        ChatTemplate template = ChatTemplate.Parse("{{ bos_token }}{{ messages[0].name }}{{ messages[0].content }}{{ tools[0].a }}{{ enable_thinking }}{{ documents is none }}{{ eos_token }}", "<s>", "</s>");
        using JsonDocument tools = JsonDocument.Parse("""[{"a": 1}]""");
        ChatMessage message = new("tool", "x") { Fields = new Dictionary<string, JinjaValue> { ["name"] = JinjaValue.Input("n"), ["content"] = JinjaValue.None } };
        RenderedPrompt prompt = template.Render([message], true, default, JinjaValue.FromJson(tools.RootElement), new Dictionary<string, JinjaValue> { ["enable_thinking"] = JinjaValue.False });
        Assert.Equal("<s>nNone1FalseTrue</s>", prompt.Text);
    }

    [Fact]
    public void Without_tools_the_template_sees_None() =>
        Assert.Equal("True True", ChatTemplate.Parse("{{ tools is defined }} {{ tools is none }}").Render([], false, default).Text);

    [Fact]
    public void One_template_renders_on_many_threads_at_once()
    {
        ChatTemplate template = ChatTemplate.ChatML();
        Parallel.For(0, 64, i => Assert.Contains($"\nm{i}<", template.Render([new("user", $"m{i}")], true, default).Text, StringComparison.Ordinal));
    }

    [Fact]
    public void Json_keeps_the_order_of_dicts_and_tells_int_from_float()
    {
        using JsonDocument document = JsonDocument.Parse("""{"b": 1, "a": 1.0, "c": 1e2, "d": 123456789012345678901234567890, "e": [true, null, "x"]}""");
        Assert.Equal("{'b': 1, 'a': 1.0, 'c': 100.0, 'd': 123456789012345678901234567890, 'e': [True, None, 'x']}", JinjaValue.FromJson(document.RootElement).ToString());
    }

    [Fact]
    public void A_context_that_is_no_text_or_no_object_is_refused_as_the_callers_mistake()
    {
        using JsonDocument half = JsonDocument.Parse("""{"x": "\ud800"}""");
        Assert.Throws<ArgumentException>(() => JinjaValue.FromJson(half.RootElement));
        using JsonDocument list = JsonDocument.Parse("[]");
        Assert.Throws<ArgumentException>(() => JinjaTemplate.Parse("").Render(list.RootElement, default));
    }
}
