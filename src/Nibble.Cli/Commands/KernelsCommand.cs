using System.CommandLine;
using Nibble.Cli.Bench;
using Nibble.Cli.Kernels;
using Nibble.Core.Compute;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;
using Nibble.Cpu;

namespace Nibble.Cli.Commands;

/// <summary><c>nibble kernels</c>: how fast each kernel is, and how near to what memory and multipliers allow.</summary>
internal static class KernelsCommand
{
    private const int MaxTokens = 65536;

    /// <summary>The command.</summary>
    public static Command Create()
    {
        Option<string[]> formats = new("--format", "-f") { Description = $"Formats of weights, such as Q4_0,Q8_0, or encodings: {string.Join(", ", RandomEncodings.Names)}; without it all formats." };
        Option<string[]> shapes = new("--shape", "-s") { Description = "ROWSxCOLUMNS of a matrix; may be repeated.", DefaultValueFactory = _ => ["2048x2048", "5632x2048"] };
        Option<string[]> tokens = new("--tokens", "-n") { Description = "Tokens multiplied together. Lists: 1,2,3; ranges: 128-512+128, 1-512*2.", DefaultValueFactory = _ => ["1,4,8,512"] };
        Option<int> threads = new("--threads", "-t") { Description = "Threads of the CPU; 0 for one a core.", DefaultValueFactory = _ => 0 };
        threads.Validators.Add(result => ModelArguments.CheckRange(result, 0, 1024));
        Option<int> repetitions = new("--repetitions", "-r") { Description = "Samples of about 10 ms or one product each, of which the median counts.", DefaultValueFactory = _ => 5 };
        repetitions.Validators.Add(result => ModelArguments.CheckRange(result, 1, 10000));
        Option<string> output = new("--output", "-o") { Description = $"Output: {string.Join(", ", KernelOutput.Formats)}.", DefaultValueFactory = _ => "md" };
        Option<string?> svg = new("--svg") { Description = "Also write a roofline picture to this file." };
        Option<string> device = new("--device") { Description = "auto, cpu or opencl[:i].", DefaultValueFactory = _ => "cpu" };
        Option<string[]> cpuPaths = new("--cpu-path") { Description = "CPU instruction paths, or 'all' that run here; without it the fastest kernel of each format." };
        Command command = new("kernels", "Measure each kernel: its speed with every format and shape, and its share of what memory and multipliers allow.")
        {
            formats, shapes, tokens, threads, repetitions, output, svg, device, cpuPaths,
        };
        command.SetAction((parsed, _) =>
        {
            KernelPlan plan = new(
                Formats(parsed.GetValue(formats) ?? []),
                [.. Split(parsed.GetValue(shapes)!).Select(KernelShape.Parse)],
                NumberList.Parse(parsed.GetValue(tokens)!, "--tokens", 1, MaxTokens),
                parsed.GetValue(repetitions));
            foreach (BlockFormat format in plan.Formats)
                foreach (KernelShape shape in plan.Shapes)
                    shape.Check(format);
            ResultOutput<KernelResult> writer = KernelOutput.Create(parsed.GetValue(output)!, plan.Formats);
            string? picture = parsed.GetValue(svg);
            if (picture is not null && !Directory.Exists(Path.GetDirectoryName(Path.GetFullPath(picture))))
                throw new UsageException($"'{picture}' (--svg) is in a folder that does not exist; make the folder first.");
            List<string?> paths = Paths(parsed.GetValue(cpuPaths) ?? []);
            CheckDevice(parsed.GetValue(device)!);
            using Interruption interruption = new();
            List<KernelResult> results = [];
            Measure(parsed.GetValue(device)!, new DeviceOptions { Threads = parsed.GetValue(threads) }, paths, plan, results, writer, interruption.Token);
            if (picture is not null) OutputFile.Write(picture, stream => RooflinePicture.Write(stream, results));
            return Task.FromResult(0);
        });
        Examples.Attach(
            command,
            "nibble kernels",
            "nibble kernels --format Q4_0,Q4_K --tokens 1-512*2 --shape 4096x4096 --svg roofline.svg",
            "nibble kernels --format Q8_0 --cpu-path all -o json",
            "nibble kernels --device opencl --format Q4_K");
        return command;
    }

    private sealed record KernelPlan(IReadOnlyList<BlockFormat> Formats, IReadOnlyList<KernelShape> Shapes, IReadOnlyList<int> Tokens, int Repetitions);

    private static void Measure(string device, DeviceOptions options, List<string?> paths, KernelPlan plan, List<KernelResult> results, ResultOutput<KernelResult> output, CancellationToken cancellation)
    {
        bool hasBegun = false;
        try
        {
            foreach (string? path in paths)
            {
                using Backend backend = Devices.Open(device, options with { CpuPath = path });
                using KernelRunner runner = new(backend, StatusLine.Show, cancellation);
                if (!hasBegun) output.Begin();
                hasBegun = true;
                foreach (KernelResult result in plan.Formats.SelectMany(format => runner.Run(format, plan.Shapes, plan.Tokens, plan.Repetitions)))
                {
                    StatusLine.Clear();
                    output.Add(result);
                    results.Add(result);
                }
            }
        }
        finally
        {
            StatusLine.Clear();
            if (hasBegun) output.End();
        }
    }

    private static void CheckDevice(string name)
    {
        if (name is "auto" or "cpu") return;
        string kind = name.Split(':')[0];
        DeviceInfo? device = Devices.All.FirstOrDefault(known => known.Name == name || (known.Name == kind && !known.IsUsable) || (name == "opencl" && known.Name == "opencl:0"));
        string? why = device is null ? $"there is no device '{name}' (--device)"
            : !device.IsUsable ? $"device '{name}' (--device) cannot be used: {device.Description}"
            : kind == "reference" ? $"device '{name}' (--device) has no kernels to measure"
            : null;
        if (why is not null) throw new UsageException($"{why}; use auto, cpu or opencl.");
    }

    private static IEnumerable<string> Split(string[] values) => values.SelectMany(value => value.Split(',')).Select(value => value.Trim());

    private static List<BlockFormat> Formats(string[] names) => names.Length == 0
        ? [.. BlockFormats.All]
        : [.. Split(names).Select(Format).Distinct()];

    private static BlockFormat Format(string name)
    {
        if (BlockFormats.Find(name) is { } format) return format;

        // The format of an encoding of whole rows is named the same for any shape.
        TensorEncoding encoding = RandomEncodings.Find(name, 1024, 2)
            ?? throw new UsageException($"'{name}' is no format of weights (--format); use one of {string.Join(", ", BlockFormats.All)}, {string.Join(", ", RandomEncodings.Names)}.");
        return EncodedFormat.Of(encoding);
    }

    // Null stands for the choice of the backend.
    private static List<string?> Paths(string[] names)
    {
        if (names.Length == 0) return [null];
        return [.. Split(names).SelectMany(name => name == "all" ? CpuPaths.All.Where(path => path.IsSupported) : [CpuPaths.Choose(name)]).Select(path => path.Name).Distinct()];
    }
}
