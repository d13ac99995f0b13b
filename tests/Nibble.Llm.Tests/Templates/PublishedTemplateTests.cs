using System.Globalization;
using System.Text.Json;
using Nibble.Llm.Templates;

namespace Nibble.Llm.Tests.Templates;

/// <summary>21 published chat templates on 13 conversations each, against jinja2 set up as transformers does.</summary>
public sealed class PublishedTemplateTests
{
    public static TheoryData<string> Files { get; } = new(Directory.GetFiles(Fixtures.Golden("templates"), "*.jinja").Select(file => Path.GetFileNameWithoutExtension(file)).Order());

    [Theory]
    [MemberData(nameof(Files))]
    public void Every_conversation_renders_byte_for_byte_as_jinja2_does(string name)
    {
        JinjaTemplate template = JinjaTemplate.Parse(File.ReadAllText(Fixtures.Golden("templates", name + ".jinja")));
        using JsonDocument fixture = JsonDocument.Parse(File.ReadAllText(Fixtures.Golden("templates", name + ".json")));
        JsonElement root = fixture.RootElement;
        DateTimeOffset now = DateTimeOffset.Parse(root.GetProperty("now").GetString()!, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal);
        Dictionary<string, string> literals = new() { ["bos_token"] = root.GetProperty("bos").GetString()!, ["eos_token"] = root.GetProperty("eos").GetString()! };
        int count = 0;
        foreach (JsonElement test in root.GetProperty("cases").EnumerateArray())
        {
            string title = test.GetProperty("name").GetString()!;
            count++;
            if (test.TryGetProperty("error", out JsonElement error))
            {
                TemplateException e = Assert.Throws<TemplateException>(() => template.Render(test.GetProperty("context"), now, literals));
                string reason = error.GetString()!;
                Assert.Equal(reason[(reason.IndexOf(": ", StringComparison.Ordinal) + 2)..], e.Reason);
                Assert.Equal(reason.StartsWith("TemplateError:", StringComparison.Ordinal) ? TemplateErrorKind.Raised : TemplateErrorKind.Runtime, e.Kind);
                continue;
            }
            RenderedPrompt prompt = template.Render(test.GetProperty("context"), now, literals);
            Assert.True(test.GetProperty("output").GetString() == prompt.Text, $"{name}, {title}: expected\n{test.GetProperty("output").GetString()}\nbut got\n{prompt.Text}");
            Assert.Equal(prompt.Text, string.Concat(prompt.Segments.Select(segment => segment.Text)));
        }
        Assert.Equal(13, count);
    }

    [Fact]
    public void All_21_templates_are_here() => Assert.Equal(21, Files.Count);
}
