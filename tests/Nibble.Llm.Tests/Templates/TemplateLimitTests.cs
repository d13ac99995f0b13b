using System.Diagnostics;
using System.Text;
using System.Text.Json;
using Nibble.Llm.Templates;

namespace Nibble.Llm.Tests.Templates;

/// <summary>Bounds, positions of errors, and templates made to hurt.</summary>
public sealed class TemplateLimitTests
{
    [Theory]
    [InlineData("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}")]
    [InlineData("{% for i in range(100001) %}{% endfor %}")]
    [InlineData("{{ range(0, 10 ** 30) }}")]
    [InlineData("{{ 'x' * 5000000 }}")]
    [InlineData("{{ [0] * 100000000000 }}")]
    [InlineData("{% for i in range(50) %}{{ 'x' * 100000 }}{% endfor %}")]
    [InlineData("{% set ns = namespace(s='ab') %}{% for i in range(100) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}")]
    [InlineData("{% set ns = namespace(s=[1]) %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}")]
    [InlineData("{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s == [ns.s[0], ns.s[0]] }}{{ ns.s }}")]
    [InlineData("{% set ns = namespace(s=[1], t=[1]) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% set ns.t = [ns.t, ns.t] %}{% endfor %}{{ ns.s == ns.t }}")]
    [InlineData("{% set ns = namespace(s=[]) %}{% for i in range(20000) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s }}")]
    [InlineData("{% set ns = namespace(s=[]) %}{% for i in range(20000) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s|tojson }}")]
    [InlineData("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}")]
    [InlineData("{% for x in [[1]] recursive %}{{ loop([x]) }}{% endfor %}")]
    [InlineData("{{ 2 ** 5000 }}")]
    [InlineData("{{ 9 ** (9 ** 9) }}")]
    [InlineData("{{ '%999999999d' % 1 }}")]
    [InlineData("{{ '{:999999999}'.format(1) }}")]
    [InlineData("{{ 'x'.center(99999999) }}")]
    [InlineData("{{ 'a'|indent(99999999) }}")]
    [InlineData("{{ ('x' * 4000000).replace('x', 'yy') }}")]
    [InlineData("{% set x = 'x' * 4000000 %}{% for i in range(1000) %}{% if 'y' in x %}{% endif %}{% endfor %}")]
    public void A_bound_stops_the_rendering_with_a_limit_error(string source)
    {
        Stopwatch watch = Stopwatch.StartNew();
        TemplateException e = Assert.Throws<TemplateException>(() => JinjaTemplate.Parse(source).Render(new Dictionary<string, JinjaValue>(), default));
        Assert.Equal(TemplateErrorKind.Limit, e.Kind);
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(60));
    }

    [Theory]
    [InlineData("(")]
    [InlineData("[")]
    [InlineData("-")]
    [InlineData("not ")]
    [InlineData("{1:")]
    [InlineData("f(")]
    [InlineData("a[")]
    [InlineData("1 if 1 else ")]
    public void Deep_nesting_is_refused_when_parsing(string opening)
    {
        string source = "{{ " + string.Concat(Enumerable.Repeat(opening, 20_000)) + "1 }}";
        Assert.Equal(TemplateErrorKind.Limit, Assert.Throws<TemplateException>(() => JinjaTemplate.Parse(source)).Kind);
    }

    [Fact]
    public void Deep_statements_and_long_sources_are_refused()
    {
        Assert.Equal(TemplateErrorKind.Limit, Assert.Throws<TemplateException>(() => JinjaTemplate.Parse(string.Concat(Enumerable.Repeat("{% if 1 %}", 20_000)))).Kind);
        Assert.Equal(TemplateErrorKind.Limit, Assert.Throws<TemplateException>(() => JinjaTemplate.Parse(new string('x', TemplateLimits.SourceBytes + 1))).Kind);
        Assert.Equal(TemplateLimits.SourceBytes, JinjaTemplate.Parse(new string('x', TemplateLimits.SourceBytes)).Render(new Dictionary<string, JinjaValue>(), default).Text.Length);
    }

    [Theory]
    [InlineData("+ 1")]
    [InlineData("~ 1")]
    [InlineData("or 0")]
    [InlineData("== 1")]
    public void Long_chains_of_operators_cost_no_stack(string link)
    {
        string source = "{{ 0 " + string.Concat(Enumerable.Repeat(link, 20_000)) + " }}";
        JinjaTemplate.Parse(source.Replace("1~", "1 ~", StringComparison.Ordinal)).Render(new Dictionary<string, JinjaValue>(), default);
    }

    [Theory]
    [InlineData("a\n {{ x|nope }}", 2, 7, "no filter named 'nope'")]
    [InlineData("{{ x is nope }}", 1, 9, "no test named 'nope'")]
    [InlineData("\n\n{% nope %}", 3, 4, "unknown tag 'nope'")]
    [InlineData("{% include 'x' %}", 1, 4, "the tag 'include' is not supported: a chat template is a single text")]
    [InlineData("{% if 1 %}{{ x|nope }}{% endif %}", 1, 16, "no filter named 'nope'")]
    [InlineData("ab\n{{ messages[0].role.x }}", 2, 12, "'messages' is undefined")]
    [InlineData("{{ 'a' + 1 }}", 1, 8, "can only concatenate str (not \"int\") to str")]
    public void An_error_names_the_culprit_and_its_place(string source, int line, int column, string reason)
    {
        TemplateException e = Assert.Throws<TemplateException>(() => JinjaTemplate.Parse(source).Render(new Dictionary<string, JinjaValue>(), default));
        Assert.Equal((line, column, reason), (e.Line, e.Column, e.Reason));
        Assert.Contains($"line {line}, column {column}", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Raise_exception_is_told_apart_and_keeps_its_message()
    {
        TemplateException e = Assert.Throws<TemplateException>(() => JinjaTemplate.Parse("{{ raise_exception('No ' ~ 1) }}").Render(new Dictionary<string, JinjaValue>(), default));
        Assert.Equal((TemplateErrorKind.Raised, "No 1"), (e.Kind, e.Reason));
    }

    [Fact]
    public void A_loop_over_4096_messages_that_grows_a_string_is_linear()
    {
        JinjaTemplate template = JinjaTemplate.Parse("{% set ns = namespace(s='') %}{% for m in messages %}{% set ns.s = ns.s + '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' %}{% endfor %}{{ ns.s }}");
        ChatMessage[] messages = Enumerable.Range(0, 4096).Select(i => new ChatMessage(i % 2 == 0 ? "user" : "assistant", new string('x', 200))).ToArray();
        long small = Allocated(messages[..512]);
        long large = Allocated(messages);
        Assert.True(large < small * 16, $"512 messages allocate {small} bytes, 4096 allocate {large}; linear is a factor of 8");

        long Allocated(ChatMessage[] some)
        {
            Dictionary<string, JinjaValue> context = new() { ["messages"] = JinjaValue.List(some.Select(message => JinjaValue.Dict([new("role", JinjaValue.Input(message.Role)), new("content", JinjaValue.Input(message.Content))]))) };
            long before = GC.GetAllocatedBytesForCurrentThread();
            Assert.True(template.Render(context, default).Text.Length > some.Length * 200);
            return GC.GetAllocatedBytesForCurrentThread() - before;
        }
    }

    [Fact]
    public void Every_published_template_renders_4096_messages_but_the_one_that_looks_back_at_all_of_them()
    {
        foreach (string file in Directory.GetFiles(Fixtures.Golden("templates"), "*.jinja"))
        {
            ChatTemplate template = ChatTemplate.Parse(File.ReadAllText(file), "<s>", "</s>");
            ChatMessage[] messages = Enumerable.Range(0, 4096).Select(i => new ChatMessage(i % 2 == 0 ? "user" : "assistant", $"message {i}")).ToArray();
            if (Path.GetFileName(file) == "google-gemma-4-31B-it.jinja")
            {
                // It searches backwards through all messages for each message: 8 million iterations for 4096.
                Assert.Equal(TemplateErrorKind.Limit, Assert.Throws<TemplateException>(() => Render(template, messages)).Kind);
                messages = messages[..512];
            }
            Assert.Contains($"message {messages.Length - 2}", Render(template, messages), StringComparison.Ordinal);
        }

        static string Render(ChatTemplate template, ChatMessage[] messages) => template.Render(messages, true, default, JinjaValue.List([])).Text;
    }

    [Fact]
    public void Mutated_templates_throw_nothing_but_template_exceptions()
    {
        const int seed = 4711;
        TestContext.Current.TestOutputHelper?.WriteLine($"seed {seed}");
        Random random = new(seed);
        List<(string Source, JsonElement Context)> corpus = [];
        foreach (string file in Directory.GetFiles(Fixtures.Golden("templates"), "*.jinja"))
        {
            JsonElement cases = JsonDocument.Parse(File.ReadAllText(Path.ChangeExtension(file, ".json"))).RootElement.GetProperty("cases");
            corpus.Add((File.ReadAllText(file), cases[random.Next(cases.GetArrayLength())].GetProperty("context")));
        }
        JsonElement snippets = JsonDocument.Parse(File.ReadAllText(Fixtures.Golden("templates", "snippets.json"))).RootElement;
        foreach (JsonElement snippet in snippets.GetProperty("snippets").EnumerateArray())
            corpus.Add((snippet.GetProperty("source").GetString()!, snippets.GetProperty("context")));
        string[] tokens = ["{%", "%}", "{{", "}}", "{#", "#}", "-", "+", "|", "(", ")", "[", "]", "'", "\"", "\\", " if ", " else ", " is ", " not ", "in", "~", "%", "**", "//", ":", ",", ".", "loop", "range(9)", "[::-1]", "\n", "\u2028", "🦙", "99999999", "none", "*"];
        for (int run = 0; run < 6000; run++)
        {
            (string source, JsonElement context) = corpus[run % corpus.Count];
            StringBuilder mutated = new(source);
            for (int edits = random.Next(1, 5); edits > 0; edits--)
            {
                int at = random.Next(mutated.Length + 1);
                int cut = Math.Min(random.Next(0, 6), mutated.Length - at);
                mutated.Remove(at, random.Next(2) == 0 ? cut : 0);
                if (random.Next(3) > 0) mutated.Insert(at, tokens[random.Next(tokens.Length)]);
            }
            try
            {
                JinjaTemplate.Parse(mutated.ToString()).Render(context, DateTimeOffset.UnixEpoch);
            }
            catch (TemplateException)
            {
            }
            catch (Exception e)
            {
                Assert.Fail($"seed {seed}, run {run}: {e}\n{mutated}");
            }
        }
    }
}
