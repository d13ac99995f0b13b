namespace Nibble.Repo.Tests;

/// <summary>The names in the documents are names of the code.</summary>
public class DocumentNameTests
{
    private static readonly Lazy<NameIndex> Index = new(NameIndex.OfRepository);

    public static TheoryData<string> Documents() => [.. Directory.GetFiles(Fixtures.Root, "*.md").Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal)];

    [Theory]
    [InlineData("ARCHITECTURE.md")]
    [InlineData("CHANGELOG.md")]
    [InlineData("CONTRIBUTING.md")]
    [InlineData("README.md")]
    [InlineData("SECURITY.md")]
    public void A_document_that_the_repository_must_have_is_there(string document) => Assert.Contains(document, Repository.Documents);

    [Theory]
    [MemberData(nameof(Documents))]
    public void A_document_names_only_what_exists(string document) => Check.None(DocumentNames.Check(Repository.Read(document), Index.Value));

    [Fact]
    public void The_architecture_names_a_file_or_type_of_every_project()
    {
        string text = Repository.Read("ARCHITECTURE.md");
        Assert.All(ProjectTests.SourceProjects, project => Assert.Contains($"`src/{project}", text, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("`Session.Prefill` and `Session.Prefill(prompt)`")]
    [InlineData("`Session`, `Prefill`, `Nibble.Core.Gguf`, `Nibble.Llm.Sessions.Session`")]
    [InlineData("`IBlock<TSelf>` and `BlockFormat<TBlock>`, `Q4_1.D`")]
    [InlineData("`Session.Model.Backend.MatMul` by way of the members' types")]
    [InlineData("`ReadOnlySpan<byte>` and `SafeHandle` of the framework")]
    [InlineData("`src/Nibble.Core/Formats/Q4_1.cs`, `Q4_1.cs`, `src/`, `src/Nibble.Core`, `models/*.gguf`, `Runtime.sln`, `.editorconfig`")]
    [InlineData("`../shared/fixtures` may be absent")]
    [InlineData("`general.architecture`, `token_embd.weight`, `llama`, `SmolLM2-135M-Instruct`")]
    [InlineData("`--device cpu`, `--top-k`, `--device`")]
    [InlineData("`dotnet test Runtime.sln`, `nibble`")]
    [InlineData("`state -> GetRows -> KvCache`, `y = W x`, `<|im_start|>`")]
    [InlineData("[the licence](LICENSE), [above](#top), [far](https://github.com)")]
    [InlineData("```\nSession.Prefill  src/Nibble.Llm/Sessions/Session.cs\n```")]
    [InlineData("```sh\nMadeUp.Name is not looked at in a shell block\n```")]
    public void A_name_that_exists_passes(string markdown) => Check.None(DocumentNames.Check(markdown, Index.Value));

    [Theory]
    [InlineData("`Session.MadeUp`", "Session.MadeUp")]
    [InlineData("`MadeUp`", "MadeUp")]
    [InlineData("`MadeUp.Prefill()`", "MadeUp.Prefill()")]
    [InlineData("`Nibble.MadeUp.Session`", "Nibble.MadeUp.Session")]
    [InlineData("`Nibble.Core.Session` is in another namespace", "Nibble.Core.Session")]
    [InlineData("`Session.Model.MadeUp`", "Session.Model.MadeUp")]
    [InlineData("`MADE_UP_9`", "MADE_UP_9")]
    [InlineData("`StringWriter` is of the framework, but not used", "StringWriter")]
    [InlineData("`src/Nibble.Core/Formats/Q4_9.cs`", "src/Nibble.Core/Formats/Q4_9.cs")]
    [InlineData("`Q4_9.cs`", "Q4_9.cs")]
    [InlineData("`src/Nibble.MadeUp/`", "src/Nibble.MadeUp/")]
    [InlineData("`src/*.rs`", "src/*.rs")]
    [InlineData("`general.made_up`", "general.made_up")]
    [InlineData("`madeUp`", "madeUp")]
    [InlineData("`--made-up`", "--made-up")]
    [InlineData("`--dev`", "--dev")]
    [InlineData("`/madeup`", "/madeup")]
    [InlineData("`state -> MadeUp`", "MadeUp")]
    [InlineData("`x = Session.MadeUp + 1`", "Session.MadeUp")]
    [InlineData("[gone](MADEUP.md)", "](MADEUP.md)")]
    [InlineData("```\nSession.MadeUp\n```", "Session.MadeUp")]
    [InlineData("```\nsrc/MadeUp/x.cs\n```", "src/MadeUp/x.cs")]
    [InlineData("`Session", "`Session")]
    [InlineData("```\nSession", "```")]
    public void A_name_that_does_not_exist_is_found(string markdown, string span) =>
        Assert.Contains(span, DocumentNames.Check(markdown, Index.Value).Select(problem => problem.Span));

    [Fact]
    public void A_problem_tells_its_line() => Assert.Equal(3, Assert.Single(DocumentNames.Check("one\n\n`MadeUp`\n", Index.Value)).Line);
}
