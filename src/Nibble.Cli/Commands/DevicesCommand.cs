using System.CommandLine;
using System.Text.Json;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Cpu;
using Nibble.Gpu;
using Spectre.Console;

namespace Nibble.Cli.Commands;

/// <summary><c>nibble devices</c>: what a model can run on, and with which kernels.</summary>
internal static class DevicesCommand
{
    /// <summary>The command.</summary>
    public static Command Create()
    {
        Option<bool> json = new("--json") { Description = "Write JSON." };
        Command command = new("devices", "List devices, instruction sets and the kernel that serves each format.") { json };
        command.SetAction(parsed =>
        {
            using Backend cpu = Devices.Open("cpu");
            if (parsed.GetValue(json)) WriteJson(cpu);
            else WriteTables(cpu);
            return 0;
        });
        Examples.Attach(command, "nibble devices", "nibble devices --json");
        return command;
    }

    private static bool HasOpenCl() => Devices.All.Any(device => device.IsUsable && device.Name.StartsWith("opencl", StringComparison.Ordinal));

    private static void WriteTables(Backend cpu)
    {
        Table devices = new Table().AddColumns("device", "usable", "what it is");
        foreach (DeviceInfo device in Devices.All)
            devices.AddRow(Markup.Escape(device.Name), device.IsUsable ? "yes" : "no", Markup.Escape(device.Name == cpu.Name ? cpu.Description : device.Description));
        Terminal.Output.Write(devices);
        string auto = Devices.Auto(out string reason);
        Console.Out.WriteLine($"--device auto takes {auto}: {reason}");

        Table paths = new Table().AddColumns("cpu path", "here", "why");
        foreach (CpuPath path in CpuPaths.All)
            paths.AddRow(path.Name, path.IsSupported ? "yes" : "no", Markup.Escape(path.Reason));
        Terminal.Output.Write(paths);

        bool hasOpenCl = HasOpenCl();
        Table kernels = new Table().AddColumns("format", "bits/weight", "matmul kernel on cpu");
        if (hasOpenCl) kernels.AddColumn("on opencl");
        foreach (BlockFormat format in BlockFormats.All)
        {
            List<string> row = [format.Name, format.BitsPerWeight.ToString("0.0###", System.Globalization.CultureInfo.InvariantCulture), Markup.Escape(cpu.KernelName(Operation.MatMul, format))];
            if (hasOpenCl) row.Add(Markup.Escape(GpuBackend.NameOf(Operation.MatMul, format)));
            kernels.AddRow([.. row]);
        }

        Terminal.Output.Write(kernels);
        if (hasOpenCl) Console.Out.WriteLine("On opencl every operation has a kernel; the processor looks up rows of embeddings where no product on the device reads their table, or where it has layers itself.");
    }

    private static void WriteNames(Utf8JsonWriter writer, string key, GpuFeatures features)
    {
        writer.WriteStartArray(key);
        foreach (string name in GpuFeatureNames.Of(features))
            writer.WriteStringValue(name);
        writer.WriteEndArray();
    }

    private static void WriteJson(Backend cpu)
    {
        JsonOutput.Write(writer =>
        {
            writer.WriteStartObject();
            writer.WriteStartArray("devices");
            foreach (DeviceInfo device in Devices.All)
            {
                writer.WriteStartObject();
                writer.WriteString("name", device.Name);
                writer.WriteBoolean("usable", device.IsUsable);
                writer.WriteString("description", device.Name == cpu.Name ? cpu.Description : device.Description);
                if (device.Name.StartsWith("opencl:", StringComparison.Ordinal))
                {
                    WriteNames(writer, "features", device.Features);
                    WriteNames(writer, "features_used", device.UsedFeatures);
                }

                writer.WriteEndObject();
            }

            writer.WriteEndArray();
            writer.WriteString("auto", Devices.Auto(out string reason));
            writer.WriteString("auto_reason", reason);
            writer.WriteStartArray("cpu_paths");
            foreach (CpuPath path in CpuPaths.All)
            {
                writer.WriteStartObject();
                writer.WriteString("name", path.Name);
                writer.WriteBoolean("usable", path.IsSupported);
                writer.WriteString("reason", path.Reason);
                writer.WriteEndObject();
            }

            writer.WriteEndArray();
            bool hasOpenCl = HasOpenCl();
            writer.WriteStartArray("kernels");
            foreach (BlockFormat format in BlockFormats.All)
            {
                writer.WriteStartObject();
                writer.WriteString("format", format.Name);
                writer.WriteNumber("bits_per_weight", format.BitsPerWeight);
                writer.WriteString("matmul", cpu.KernelName(Operation.MatMul, format));
                if (hasOpenCl) writer.WriteString("matmul_opencl", GpuBackend.NameOf(Operation.MatMul, format));
                writer.WriteEndObject();
            }

            writer.WriteEndArray();
            writer.WriteEndObject();
        });
    }
}
