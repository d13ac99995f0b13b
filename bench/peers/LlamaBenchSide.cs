using System.Globalization;
using System.Text.Json;

namespace Peers;

/// <summary>A llama-bench program, llama.cpp's or ik_llama.cpp's, started anew for every turn. It warms up by itself before each test.</summary>
/// <param name="name">The side's name.</param>
/// <param name="program">The program.</param>
/// <param name="arguments">Arguments besides those of the group.</param>
/// <param name="group">What is measured.</param>
internal sealed class LlamaBenchSide(string name, string program, string[] arguments, Group group) : Side
{
    private bool _hasDepth;
    private string _description = string.Empty;

    /// <inheritdoc/>
    public override string Name => name;

    /// <inheritdoc/>
    public override void Start()
    {
        using (ChildProcess help = new(program, ["--help"])) _hasDepth = help.ReadToEnd().Contains("--n-depth", StringComparison.Ordinal);
        // The log tells where the weights went; it is written in a run that is not timed.
        using ChildProcess probe = new(program, [.. Common(), "-p", "1", "-n", "0", "-v"]);
        string output = probe.ReadToEnd();
        JsonElement test = Parse(output)[0];
        _description = $"{test.GetProperty("build_commit").GetString()} ({test.GetProperty("build_number")}); {string.Join("; ", LogFacts.Of(probe.Errors))}";
    }

    /// <inheritdoc/>
    public override double?[] Turn()
    {
        List<string> line = [.. Common()];
        Test[] prefills = Of(TestKind.Prefill), decodes = Of(TestKind.Decode);
        if (group.Depth > 0 && !_hasDepth)
        {
            // ik_llama.cpp times tokens after a prompt; a prompt after a prompt it cannot.
            if (decodes.Length == 0) return new double?[group.Tests.Length];
            line.AddRange(["-p", "0", "-n", "0", .. decodes.SelectMany(test => new[] { "-gp", $"{group.Depth},{test.Tokens}" })]);
        }
        else
        {
            line.AddRange(["-p", List(prefills), "-n", List(decodes)]);
            if (group.Depth > 0) line.AddRange(["-d", Number(group.Depth)]);
        }

        using ChildProcess child = new(program, line);
        JsonElement[] results = Parse(child.ReadToEnd());
        return [.. group.Tests.Select(test => RateOf(results, test))];
    }

    /// <inheritdoc/>
    public override Loaded Describe() => new(_description);

    /// <inheritdoc/>
    public override void Dispose()
    {
    }

    private static JsonElement[] Parse(string output)
    {
        // ik_llama.cpp writes other lines before its JSON.
        int start = output.StartsWith('[') ? 0 : output.IndexOf("\n[", StringComparison.Ordinal) + 1;
        try
        {
            return [.. JsonDocument.Parse(output.AsMemory(start)).RootElement.EnumerateArray()];
        }
        catch (JsonException error)
        {
            throw new PeerException($"llama-bench wrote no JSON: {error.Message}");
        }
    }

    private static string Number(int value) => value.ToString(CultureInfo.InvariantCulture);

    private static string List(Test[] tests) => tests.Length == 0 ? "0" : string.Join(',', tests.Select(test => Number(test.Tokens)));

    private Test[] Of(TestKind kind) => [.. group.Tests.Where(test => test.Kind == kind)];

    private IEnumerable<string> Common() =>
        ["-m", group.Model, "-t", Number(group.Threads), "-ctk", group.Kv, "-ctv", group.Kv, "-r", "1", "-o", "json", .. arguments];

    private double? RateOf(JsonElement[] results, Test test)
    {
        (int prompt, int generated) = test.Kind == TestKind.Prefill ? (test.Tokens, 0) : (_hasDepth ? 0 : group.Depth, test.Tokens);
        foreach (JsonElement result in results)
            if (result.GetProperty("n_prompt").GetInt32() == prompt && result.GetProperty("n_gen").GetInt32() == generated)
                return test.Tokens / (result.GetProperty("avg_ns").GetInt64() * 1e-9);
        return null;
    }
}
