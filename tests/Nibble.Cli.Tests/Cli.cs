using System.Diagnostics;
using System.Text;

namespace Nibble.Cli.Tests;

/// <summary>The built command, run as a user runs it.</summary>
internal static class Cli
{
    /// <summary>The .NET host that runs it.</summary>
    public static string Host { get; } = FindHost();

    /// <summary>The command's assembly.</summary>
    public static string Assembly { get; } = Path.Combine(AppContext.BaseDirectory, "Nibble.Cli.dll");

    /// <summary>What a run gave.</summary>
    /// <param name="ExitCode">Exit code.</param>
    /// <param name="Output">Standard output.</param>
    /// <param name="Error">Standard error.</param>
    public sealed record Result(int ExitCode, string Output, string Error)
    {
        /// <summary>The result itself, if the run succeeded.</summary>
        public Result Succeeded()
        {
            Assert.True(ExitCode == 0, $"exit code {ExitCode}; standard error:\n{Error}");
            return this;
        }
    }

    /// <summary>Runs the command with empty standard input.</summary>
    public static Result Run(params string[] arguments) => RunWith(string.Empty, arguments);

    /// <summary>Runs the command.</summary>
    /// <param name="input">Standard input, UTF-8.</param>
    /// <param name="arguments">Arguments.</param>
    public static Result RunWith(string input, params string[] arguments) => Run(input, null, arguments);

    /// <summary>Runs the command with empty standard input and a variable in its environment.</summary>
    public static Result RunIn((string Name, string Value) variable, params string[] arguments) => Run(string.Empty, variable, arguments);

    private static Result Run(string input, (string Name, string Value)? variable, string[] arguments)
    {
        ProcessStartInfo start = new(Host)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardInputEncoding = new UTF8Encoding(false),
            StandardOutputEncoding = new UTF8Encoding(false),
            StandardErrorEncoding = new UTF8Encoding(false),
            WorkingDirectory = Path.GetTempPath(),
        };
        start.ArgumentList.Add(Assembly);
        foreach (string argument in arguments)
            start.ArgumentList.Add(argument);
        if (variable is { } set) start.Environment[set.Name] = set.Value;
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        Task<string> error = process.StandardError.ReadToEndAsync();
        try
        {
            process.StandardInput.Write(input);
            process.StandardInput.Close();
        }
        catch (IOException)
        {
            // A command that refuses its arguments does not read its input.
        }

        process.WaitForExit();
        return new Result(process.ExitCode, output.GetAwaiter().GetResult(), error.GetAwaiter().GetResult());
    }

    private static string FindHost()
    {
        string name = OperatingSystem.IsWindows() ? "dotnet.exe" : "dotnet";
        string?[] folders =
        [
            Path.GetDirectoryName(Environment.GetEnvironmentVariable("DOTNET_HOST_PATH")),
            Environment.GetEnvironmentVariable("DOTNET_ROOT"),
            .. (Environment.GetEnvironmentVariable("PATH") ?? string.Empty).Split(Path.PathSeparator),
        ];
        return folders.Where(folder => !string.IsNullOrEmpty(folder)).Select(folder => Path.Combine(folder!, name)).First(File.Exists);
    }
}
