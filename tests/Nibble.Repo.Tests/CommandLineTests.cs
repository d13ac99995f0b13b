using System.Diagnostics;

namespace Nibble.Repo.Tests;

/// <summary>The commands in the documents are commands that the program takes, and the first of README.md gives the answer that it promises.</summary>
public class CommandLineTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    public static TheoryData<string> Documents() => DocumentNameTests.Documents();

    [Theory]
    [MemberData(nameof(Documents))]
    public void Every_command_line_of_a_document_parses(string document) =>
        Check.None(CommandLines.OfBlocks(Repository.Read(document)).SelectMany(CommandLines.Problems));

    [Theory]
    [MemberData(nameof(Documents))]
    public void Every_command_named_in_a_document_exists(string document) =>
        Check.None(DocumentNames.CommandSpans(Repository.Read(document)).Select(CommandLines.Split)
            .Where(words => words is ["nibble", var name, ..] && !CommandLines.Root.Subcommands.Any(command => command.Name == name))
            .Select(words => string.Join(' ', words)));

    [Fact]
    public void Readme_lists_and_shows_every_command()
    {
        string readme = Repository.Read("README.md");
        Check.None(CommandLines.Root.Subcommands.Where(command => !readme.Contains($"| `nibble {command.Name}` |", StringComparison.Ordinal)).Select(command => $"no row for {command.Name}"));
        Check.None(CommandLines.Root.Subcommands
            .Where(command => !CommandLines.OfBlocks(readme).Any(line => CommandLines.Split(line) is var words && words.Contains(command.Name)))
            .Select(command => $"no example of {command.Name}"));
    }

    [Theory]
    [InlineData("nibble chat --temp 0")]
    [InlineData("nibble run --prompt \"two words\" -n 8")]
    [InlineData("dotnet build Runtime.sln -c Release")]
    [InlineData("dotnet run --project src/Nibble.Cli -- devices --json")]
    public void A_line_that_works_passes(string line) => Check.None(CommandLines.Problems(line));

    [Theory]
    [InlineData("nibble madeup")]
    [InlineData("nibble chat --made-up")]
    [InlineData("nibble run --prompt a -n many")]
    [InlineData("nibble logits model.gguf --tokens 1")]
    [InlineData("dotnet run --project src/Nibble.Cli -- devices --made-up")]
    [InlineData("dotnet run --project src/MadeUp -- devices")]
    [InlineData("dotnet test MadeUp.sln")]
    [InlineData("dotnet madeup")]
    [InlineData("madeup")]
    public void A_line_that_does_not_work_is_found(string line) => Assert.NotEmpty(CommandLines.Problems(line));

    [Fact]
    public void A_line_is_split_as_a_shell_does() =>
        Assert.Equal(["nibble", "run", "--prompt", "What's \"up\"?", "", "a b"], CommandLines.Split("nibble run  --prompt \"What's \"'\"up\"'? '' a\" \"b"));

    [Fact]
    public void Readme_starts_with_a_command_that_chats_and_one_that_tests()
    {
        string[] lines = [.. CommandLines.OfBlocks(Repository.Read("README.md")).Take(2)];
        Assert.Equal(["dotnet run -c Release --project src/Nibble.Cli -- chat --temp 0 --exact --prompt \"What is the capital of France?\"", "dotnet test Runtime.sln -c Release"], lines);
    }

    [Fact]
    public async Task First_command_of_the_readme_answers_Paris()
    {
        List<string> words = CommandLines.Split(CommandLines.OfBlocks(Repository.Read("README.md")).First());
        // What `dotnet run` would start, as it was built beside this test.
        string configuration = new DirectoryInfo(AppContext.BaseDirectory).Parent!.Name;
        string program = Path.Combine(Fixtures.Root, "src", "Nibble.Cli", "bin", configuration, new DirectoryInfo(AppContext.BaseDirectory).Name, "Nibble.Cli.dll");
        ProcessStartInfo start = new("dotnet", [program, .. words[(words.IndexOf("--") + 1)..]])
        {
            WorkingDirectory = Fixtures.Root,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment.Remove("NIBBLE_MODELS");
        using Process process = Process.Start(start)!;
        process.StandardInput.Close();
        CancellationToken cancellation = TestContext.Current.CancellationToken;
        Task<string> output = process.StandardOutput.ReadToEndAsync(cancellation), errors = process.StandardError.ReadToEndAsync(cancellation);
        try
        {
            await process.WaitForExitAsync(cancellation).WaitAsync(Patience, cancellation);
        }
        finally
        {
            if (!process.HasExited) process.Kill(entireProcessTree: true);
        }

        Assert.True(process.ExitCode == 0, $"exit code {process.ExitCode}: {await errors}");
        Assert.Contains("Paris", await output, StringComparison.Ordinal);
    }
}
