using System.Xml.Linq;

namespace Nibble.Repo.Tests;

/// <summary>Which project may reference what. Dependencies point one way; a new project gets a row here on purpose.</summary>
public class ProjectTests
{
    private static readonly Dictionary<string, (string[] Projects, string[] Packages)> Allowed = new()
    {
        ["Nibble.Core"] = ([], []),
        ["Nibble.Cpu"] = (["Nibble.Core"], []),
        ["Nibble.Gpu"] = (["Nibble.Core"], []),
        ["Nibble.Llm"] = (["Nibble.Core"], []),
        ["Nibble.Quantize"] = (["Nibble.Core", "Nibble.Llm"], []),
        ["Nibble"] = (["Nibble.Core", "Nibble.Cpu", "Nibble.Gpu", "Nibble.Llm", "Nibble.Quantize"], []),
        ["Nibble.Cli"] = (["Nibble", "Nibble.Core", "Nibble.Cpu", "Nibble.Gpu", "Nibble.Llm", "Nibble.Quantize"], ["Spectre.Console", "System.CommandLine"]),
    };

    /// <summary>The names of the projects in src/.</summary>
    internal static string[] SourceProjects { get; } =
        [.. Directory.GetFiles(Path.Combine(Fixtures.Root, "src"), "*.csproj", SearchOption.AllDirectories).Select(path => Path.GetFileNameWithoutExtension(path)).Order(StringComparer.Ordinal)];

    [Fact]
    public void Every_project_of_src_has_a_row_in_the_table() => Assert.Equal(Allowed.Keys.Order(StringComparer.Ordinal), SourceProjects);

    [Fact]
    public void Every_project_lies_in_a_folder_of_its_name()
    {
        foreach (string project in AllProjects())
            Assert.Equal(Path.GetFileNameWithoutExtension(project), Path.GetFileName(Path.GetDirectoryName(project)));
    }

    [Fact]
    public void A_project_references_only_the_projects_of_its_row()
    {
        foreach ((string project, (string[] projects, _)) in Allowed)
            Check.None(References(project, "ProjectReference").Select(path => Path.GetFileNameWithoutExtension(path.Replace('\\', '/'))).Except(projects).Select(name => $"{project} -> {name}"));
    }

    [Fact]
    public void A_project_references_only_the_packages_of_its_row()
    {
        foreach ((string project, (_, string[] packages)) in Allowed)
            Check.None(References(project, "PackageReference").Except(packages).Select(name => $"{project} -> {name}"));
    }

    [Fact]
    public void No_assembly_of_src_was_built_with_a_reference_that_its_row_lacks()
    {
        // What the compiler wrote, so that a reference smuggled in by a shared props file is seen too. A package may bring assemblies of its own name and more.
        foreach ((string project, (string[] projects, string[] packages)) in Allowed)
        {
            IEnumerable<string> references = System.Reflection.Assembly.Load(project).GetReferencedAssemblies().Select(name => name.Name!);
            Check.None(references
                .Where(name => !projects.Contains(name) && !packages.Any(package => name == package || name.StartsWith(package + ".", StringComparison.Ordinal)))
                .Where(name => !File.Exists(Path.Combine(Path.GetDirectoryName(typeof(object).Assembly.Location)!, name + ".dll")))
                .Select(name => $"{project} -> {name}"));
        }
    }

    [Fact]
    public void No_props_file_gives_src_a_package_or_a_native_file()
    {
        foreach (string file in new[] { "Directory.Build.props", "src/Directory.Build.props" })
            Check.None(XDocument.Load(Repository.FullPath(file)).Descendants("ItemGroup"));
    }

    [Fact]
    public void Package_versions_are_central()
    {
        foreach (string project in AllProjects())
            Check.None(XDocument.Load(project).Descendants("PackageReference").Where(reference => reference.Attribute("Version") is not null).Select(reference => $"{project}: {reference}"));
    }

    [Fact]
    public void Every_project_is_in_the_solution_but_the_makers_of_goldens()
    {
        // Those need another program's library, which a clone does not have.
        string solution = Repository.Read("Runtime.sln").Replace('\\', '/');
        foreach (string project in AllProjects().Where(path => !path.Replace('\\', '/').Contains("/tests/oracles/", StringComparison.Ordinal)))
            Assert.Contains($"\"{Path.GetRelativePath(Fixtures.Root, project).Replace('\\', '/')}\"", solution, StringComparison.Ordinal);
    }

    private static IEnumerable<string> AllProjects() =>
        new[] { "src", "tests", "bench" }.SelectMany(folder => Directory.GetFiles(Path.Combine(Fixtures.Root, folder), "*.csproj", SearchOption.AllDirectories));

    private static IEnumerable<string> References(string project, string kind) =>
        XDocument.Load(Path.Combine(Fixtures.Root, "src", project, project + ".csproj")).Descendants(kind).Select(reference => reference.Attribute("Include")!.Value);
}
