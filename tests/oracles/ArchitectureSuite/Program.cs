using System.CommandLine;
using System.Text.RegularExpressions;
using ArchitectureSuite;
using Nibble;
using Oracles;
using Spectre.Console;

// Counts the models of llama.cpp's architecture suite that Nibble runs as llama.cpp does. README.md beside it says how to make them.
if (args is [Oracle.Verb, var answered, var stem, var from, var build]) return Oracle.Answer(answered, stem, from, build);

Option<DirectoryInfo> models = new("--models") { Description = "Folder of the suite's models, *.gguf.", Required = true };
Option<DirectoryInfo> llama = new("--llama") { Description = "Folder of llama.cpp's libraries: libllama, libggml and libggml-cpu-x64.so, v0.5.0.", Required = true };
Option<DirectoryInfo> logits = new("--logits") { Description = "Folder that keeps llama.cpp's answers for the next run; 'logits' beside the models without it." };
Option<string[]> device = new("--device") { Description = "Devices to compare.", DefaultValueFactory = _ => ["reference", "cpu"], AllowMultipleArgumentsPerToken = true };
Option<string> only = new("--only") { Description = "Only models whose name this regular expression matches." };
Option<bool> json = new("--json") { Description = "Write JSON." };
models.AcceptExistingOnly();
llama.AcceptExistingOnly();
llama.Validators.Add(result =>
{
    if (result.GetValueOrDefault<DirectoryInfo>() is { Exists: true } folder && LlamaModel.Missing(folder.FullName) is { } missing) result.AddError($"there is no {missing} in '{folder.FullName}'; README.md tells where to get llama.cpp's libraries.");
});
only.Validators.Add(result =>
{
    try
    {
        _ = new Regex(result.GetValueOrDefault<string>() ?? string.Empty);
    }
    catch (RegexParseException error)
    {
        result.AddError($"--only is no regular expression: {error.Message}");
    }
});
device.AcceptOnlyFromAmong([.. Devices.All.Where(known => known.IsUsable).Select(known => known.Name)]);
RootCommand command = new("Compares Nibble with llama.cpp on the models of llama.cpp's architecture suite. Exit code 1 when one runs and differs, or cannot be compared; 2 when the command line is wrong.") { models, llama, logits, device, only, json };
command.SetAction(parsed =>
{
    string folder = parsed.GetValue(models)!.FullName;
    Regex filter = new(parsed.GetValue(only) ?? string.Empty);
    string[] files = [.. Directory.GetFiles(folder, "*.gguf").Where(path => filter.IsMatch(Path.GetFileNameWithoutExtension(path))).Order(StringComparer.Ordinal)];
    if (files.Length == 0)
    {
        Console.Error.WriteLine($"no *.gguf in '{folder}' has a name that '{filter}' matches; give another --models or --only.");
        return 2;
    }

    DirectoryInfo cache = parsed.GetValue(logits) ?? new DirectoryInfo(Path.Combine(Path.GetDirectoryName(Path.TrimEndingDirectorySeparator(folder)) ?? folder, "logits"));
    cache.Create();
    string[] devices = [.. parsed.GetValue(device)!.Distinct()];
    Suite suite = new(devices, cache.FullName, parsed.GetValue(llama)!.FullName);
    List<ModelResult> results = [];
    if (parsed.GetValue(json))
    {
        results.AddRange(files.Select(suite.Run));
        Report.WriteJson(results);
    }
    else if (Console.IsOutputRedirected)
    {
        foreach (string file in files)
        {
            results.Add(suite.Run(file));
            Report.WriteLine(results[^1]);
        }

        Console.WriteLine(Report.Totals(results));
    }
    else
    {
        AnsiConsole.Status().Start("comparing", status =>
        {
            foreach (string file in files)
            {
                status.Status(Markup.Escape($"{Path.GetFileNameWithoutExtension(file)} ({results.Count + 1} of {files.Length})"));
                results.Add(suite.Run(file));
            }
        });
        Report.WriteTable(results, devices);
        AnsiConsole.WriteLine(Report.Totals(results));
    }

    return results.Any(result => result.Verdict is Verdict.Fail or Verdict.NoOracle) ? 1 : 0;
});
ParseResult line = command.Parse(args);
int code = line.Invoke();
return line.Errors.Count > 0 ? 2 : code;
