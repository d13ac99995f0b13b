using System.CommandLine;
using System.Globalization;
using System.Runtime.InteropServices;
using Peers;

// Nibble and llama.cpp on the same files and cores. README.md of bench/ tells how to use it.
if (args is [Worker.Verb, var order]) return Worker.Run(order);

Option<DirectoryInfo> llama = new("--llama") { Description = "Folder of llama.cpp; the git-ignored folder 'llama.cpp' of this project without it.", Recursive = true };
Option<bool> native = new("--native") { Description = "Build the source that comes with the libraries too: its llama-bench, for this processor." };
Option<int> jobs = new("--jobs", "-j") { Description = "Compilers at a time.", DefaultValueFactory = _ => Environment.ProcessorCount };
Command fetch = new("fetch", "Brings llama.cpp's libraries from npm.") { native, jobs };

Option<FileInfo[]> models = new("--model", "-m") { Description = "GGUF files.", Required = true, AllowMultipleArgumentsPerToken = true };
Option<int[]> prefill = new("--prefill", "-p") { Description = "Tokens of prompts; 0 for none.", DefaultValueFactory = _ => [512], AllowMultipleArgumentsPerToken = true };
Option<int[]> decode = new("--decode", "-n") { Description = "Tokens one by one; 0 for none.", DefaultValueFactory = _ => [64], AllowMultipleArgumentsPerToken = true };
Option<int[]> depths = new("--depth", "-d") { Description = "Positions that the context holds before a test.", DefaultValueFactory = _ => [0], AllowMultipleArgumentsPerToken = true };
Option<string[]> kv = new("--kv") { Description = "Formats of keys and values.", DefaultValueFactory = _ => ["f16"], AllowMultipleArgumentsPerToken = true };
Option<int[]> threads = new("--threads", "-t") { Description = "Threads; one for each physical core without it.", AllowMultipleArgumentsPerToken = true };
Option<int[]> cores = new("--cores") { Description = "Logical processors that every side is pinned to; one of each physical core, as many as threads, without it.", AllowMultipleArgumentsPerToken = true };
Option<int> rounds = new("--rounds", "-r") { Description = "Rounds; their median is the result.", DefaultValueFactory = _ => 5 };
Option<int> warmUp = new("--warm-up") { Description = "Seconds for which Nibble and npm's libraries take turns that do not count, at least two.", DefaultValueFactory = _ => 3 };
Option<string[]> sides = new("--sides") { Description = "Sides; those that are there without it.", AllowMultipleArgumentsPerToken = true };
Option<FileInfo> ik = new("--ik") { Description = "A llama-bench of ik_llama.cpp." };
Option<string[]> ikArguments = new("--ik-args") { Description = "More arguments for it, such as '-rtr 1'.", DefaultValueFactory = _ => [] };
Option<string> npmBuild = new("--npm-build") { Description = "Build of the CPU backend in llama.cpp's libraries, such as icelake; the one that ggml scores best without it." };
Option<string> cpuPath = new("--cpu-path") { Description = "Nibble's instruction path; the best without it." };
Option<bool> json = new("--json") { Description = "Write JSON." };
sides.AcceptOnlyFromAmong(SideNames.Nibble, SideNames.Npm, SideNames.Native, SideNames.Ik);
ik.AcceptExistingOnly();
void AtLeast(Option option, int bound) => option.Validators.Add(result =>
{
    foreach (string text in result.Tokens.Select(token => token.Value))
        if (int.TryParse(text, CultureInfo.InvariantCulture, out int value) && value < bound) result.AddError($"{option.Name} {value} is too small; it must be {bound} or more.");
});
foreach ((Option option, int bound) in new (Option, int)[] { (prefill, 0), (decode, 0), (depths, 0), (threads, 1), (cores, 0), (rounds, 1), (warmUp, 0), (jobs, 1) }) AtLeast(option, bound);
models.Validators.Add(result =>
{
    foreach (string path in result.Tokens.Select(token => token.Value))
        if (!File.Exists(path)) result.AddError($"there is no file '{path}' (--model).");
});
Command run = new("run", "Measures.") { models, prefill, decode, depths, kv, threads, cores, rounds, warmUp, sides, ik, ikArguments, npmBuild, cpuPath, json };
RootCommand root = new("Runs GGUF files through Nibble and through llama.cpp, turn by turn on the same cores, and prints rates and their ratios. Exit code 1 when a side failed, 2 when the command line is wrong.") { llama, fetch, run };

Fetch Place(ParseResult parsed) => new(parsed.GetValue(llama)?.FullName ?? Path.Combine(Checkout.Project, "llama.cpp"));
fetch.SetAction(parsed =>
{
    try
    {
        if (!OperatingSystem.IsLinux() || RuntimeInformation.ProcessArchitecture != Architecture.X64) throw new PeerException("the libraries are for Linux on x64; this is another system.");
        Place(parsed).Run(parsed.GetValue(native), parsed.GetValue(jobs));
        return 0;
    }
    catch (PeerException error)
    {
        Console.Error.WriteLine($"error: {error.Message}");
        return 1;
    }
});
run.SetAction(parsed =>
{
    Fetch place = Place(parsed);
    FileInfo? ikBench = parsed.GetValue(ik);
    bool hasNpm = Directory.Exists(place.Libraries), hasNative = File.Exists(place.NativeBench);
    string[] chosen = parsed.GetValue(sides) is { Length: > 0 } named ? [.. named.Distinct()]
        : [SideNames.Nibble, .. hasNpm ? [SideNames.Npm] : (string[])[], .. hasNative ? [SideNames.Native] : (string[])[], .. ikBench is not null ? [SideNames.Ik] : (string[])[]];
    string? missing = chosen.Contains(SideNames.Npm) && !hasNpm ? $"there are no libraries in '{place.Libraries}'; bring them with the command fetch."
        : chosen.Contains(SideNames.Native) && !hasNative ? $"there is no '{place.NativeBench}'; build it with the command fetch --native."
        : chosen.Contains(SideNames.Ik) && ikBench is null ? "side 'ik' needs --ik with the path of its llama-bench."
        : chosen is [SideNames.Nibble] ? "there is no peer to compare with; bring one with the command fetch." : null;
    int[] counts = parsed.GetValue(threads) is { Length: > 0 } asked ? asked : [Machine.Choose(int.MaxValue).Length];
    int[] pinned = parsed.GetValue(cores) is { Length: > 0 } wanted ? wanted : Machine.Choose(counts.Max());
    if (pinned.Except(Linux.Cores()).ToArray() is { Length: > 0 } foreign) missing ??= $"the process may not use processor {foreign[0]} (--cores); it may use {string.Join(',', Linux.Cores())}.";
    Test[] tests =
    [
        .. parsed.GetValue(prefill)!.Where(count => count > 0).Distinct().Select(count => new Test(TestKind.Prefill, count)),
        .. parsed.GetValue(decode)!.Where(count => count > 0).Distinct().Select(count => new Test(TestKind.Decode, count)),
    ];
    if (tests.Length == 0) missing ??= "there is no test left; give --prefill or --decode a number above 0.";
    if (missing is not null)
    {
        Console.Error.WriteLine($"error: {missing}");
        return 2;
    }

    (string, string)[] machine = [.. Machine.Describe(pinned)];
    Linux.Pin(pinned);
    string[] more = [.. parsed.GetValue(ikArguments)!.SelectMany(text => text.Split(' ', StringSplitOptions.RemoveEmptyEntries))];
    Side New(Group group, string side) => side switch
    {
        SideNames.Native => new LlamaBenchSide(side, place.NativeBench, [], group),
        SideNames.Ik => new LlamaBenchSide(side, ikBench!.FullName, more, group),
        _ => new WorkerSide(new WorkerOrder(side, group, place.Libraries, parsed.GetValue(npmBuild), parsed.GetValue(cpuPath)), parsed.GetValue(warmUp)),
    };
    Comparison comparison = new(group => chosen.Append(SideNames.Bandwidth).Select(side => New(group, side)), parsed.GetValue(rounds), Console.Error);
    List<GroupResult> results = [];
    foreach (FileInfo model in parsed.GetValue(models)!)
        foreach (int count in counts.Distinct())
            foreach (string format in parsed.GetValue(kv)!.Distinct())
                foreach (int depth in parsed.GetValue(depths)!.Distinct())
                    results.Add(comparison.Run(new Group(model.FullName, count, format.ToLowerInvariant(), depth, tests)));
    ReportHead head = new(string.Join(' ', args), machine, [.. Checkout.Versions(chosen, place.Compiler, more)], parsed.GetValue(rounds));
    if (parsed.GetValue(json)) Report.WriteJson(head, results);
    else Report.WriteTable(head, results);
    return results.Any(result => result.Sides.Any(side => side.Error is not null)) ? 1 : 0;
});
ParseResult line = root.Parse(args);
int code = line.Invoke();
return line.Errors.Count > 0 ? 2 : code;
