using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Nibble.Cli.Bench;

/// <summary>Writes results of measurements to standard output as they come.</summary>
internal abstract class ResultOutput<TResult>
{
    /// <summary>Before the first result.</summary>
    public virtual void Begin()
    {
    }

    /// <summary>A result.</summary>
    public abstract void Add(TResult result);

    /// <summary>After the last result, also where an interruption came first.</summary>
    public virtual void End()
    {
    }

    /// <summary>A result as JSON.</summary>
    protected static string Json(Action<Utf8JsonWriter, TResult> write, TResult result, bool isIndented)
    {
        using MemoryStream buffer = new();
        using (Utf8JsonWriter writer = new(buffer, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, Indented = isIndented }))
            write(writer, result);
        return Encoding.UTF8.GetString(buffer.ToArray()).ReplaceLineEndings("\n");
    }
}

/// <summary>An array of objects.</summary>
/// <param name="write">Writes an object.</param>
internal sealed class JsonOutput<TResult>(Action<Utf8JsonWriter, TResult> write) : ResultOutput<TResult>
{
    private bool _hasResults;

    public override void Begin() => Console.Out.Write("[\n");

    public override void Add(TResult result)
    {
        // The comma comes with the next result, on a line of its own, since the status line would overwrite a line that has not ended.
        string text = "  " + Json(write, result, isIndented: true).Replace("\n", "\n  ", StringComparison.Ordinal);
        Console.Out.Write((_hasResults ? "  ,\n" : string.Empty) + text + "\n");
        Console.Out.Flush();
        _hasResults = true;
    }

    public override void End() => Console.Out.Write("]\n");
}

/// <summary>An object a line.</summary>
/// <param name="write">Writes an object.</param>
internal sealed class JsonLinesOutput<TResult>(Action<Utf8JsonWriter, TResult> write) : ResultOutput<TResult>
{
    public override void Add(TResult result)
    {
        Console.Out.Write(Json(write, result, isIndented: false) + "\n");
        Console.Out.Flush();
    }
}

/// <summary>A line of names, then a line of quoted values a result.</summary>
/// <param name="names">The names.</param>
/// <param name="texts">The values of a result, in the order of the names.</param>
internal sealed class CsvOutput<TResult>(IEnumerable<string> names, Func<TResult, IEnumerable<string>> texts) : ResultOutput<TResult>
{
    public override void Begin() => Console.Out.Write(string.Join(',', names) + "\n");

    public override void Add(TResult result)
    {
        Console.Out.Write(string.Join(',', texts(result).Select(text => '"' + text.Replace("\"", "\"\"", StringComparison.Ordinal) + '"')) + "\n");
        Console.Out.Flush();
    }
}

/// <summary>A Markdown table.</summary>
/// <param name="columns">Its columns; those of negative width are left-aligned.</param>
internal abstract class MarkdownOutput<TResult>(IReadOnlyList<(string Title, int Width, Func<TResult, string> Value)> columns) : ResultOutput<TResult>
{
    private readonly List<TResult> _results = [];

    /// <summary>The results so far.</summary>
    protected IReadOnlyList<TResult> Results => _results;

    public override void Begin()
    {
        Console.Out.Write($"|{string.Concat(columns.Select(column => $" {Padded(column.Title, column.Width)} |"))}\n");
        Console.Out.Write($"|{string.Concat(columns.Select(column => $" {new string('-', Math.Abs(column.Width) - 1)}{(column.Width > 0 ? ':' : '-')} |"))}\n");
        Console.Out.Flush();
    }

    public override void Add(TResult result)
    {
        _results.Add(result);
        Console.Out.Write($"|{string.Concat(columns.Select(column => $" {Padded(column.Value(result), column.Width)} |"))}\n");
        Console.Out.Flush();
    }

    /// <summary>Writes what the results were measured with.</summary>
    /// <param name="description">What a result's device says about itself.</param>
    protected void WriteSetup(Func<TResult, string> description)
    {
        Console.Out.Write($"build: {BenchFields.Commit}; {ProcessorName.Value}\n");
        foreach (string device in _results.Select(description).Distinct())
            Console.Out.Write($"device: {device}\n");
    }

    private static string Padded(string text, int width) => width < 0 ? text.PadRight(-width) : text.PadLeft(width);
}
