using System.Collections.Frozen;
using System.Reflection;
using System.Text;
using System.Text.RegularExpressions;

namespace Nibble.Repo.Tests;

/// <summary>The names that the code has: types and members of the built assemblies, words of the sources, files and folders.</summary>
internal sealed partial class NameIndex
{
    private const BindingFlags Everything = BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly;

    // Framework assemblies whose public types a document may name, where the sources use them.
    private static readonly string[] Framework =
        ["System.Private.CoreLib", "System.Console", "System.Collections", "System.Collections.Immutable", "System.Linq", "System.Text.Json", "System.CommandLine", "xunit.v3.assert"];

    private readonly ILookup<string, Type> _types;
    private readonly FrozenSet<string> _namespaces;
    private readonly FrozenSet<string> _members;
    private readonly FrozenSet<string> _words;
    private readonly Lazy<ILookup<string, Type>> _framework = new(() =>
        Framework.SelectMany(name => Assembly.Load(name).GetExportedTypes()).ToLookup(Name));

    private NameIndex(IEnumerable<Assembly> assemblies, string text, IReadOnlyList<string> files)
    {
        Type[] types = [.. assemblies.SelectMany(assembly => assembly.GetTypes()).Where(type => !type.Name.StartsWith('<'))];
        _types = types.ToLookup(Name);
        _namespaces = types.Select(type => type.Namespace).OfType<string>().SelectMany(Prefixes).ToFrozenSet();
        _members = types.SelectMany(type => type.GetMembers(Everything)).Select(member => member.Name).ToFrozenSet();
        _words = Word().Matches(text).Select(match => match.Value).ToFrozenSet();
        Text = text;
        Files = files;
        Folders = files.SelectMany(file => Prefixes(file, '/').SkipLast(1)).ToFrozenSet();
    }

    /// <summary>The index of this repository: every project of src/, the helpers of the tests, their words, and those of the manifest.</summary>
    public static NameIndex OfRepository()
    {
        StringBuilder text = new();
        foreach (string file in Repository.Sources("src").Concat(Repository.Sources("tests/Nibble.Testing")).Append("models/manifest.json"))
            text.Append(Repository.Read(file)).Append('\n');
        return new NameIndex(ProjectTests.SourceProjects.Append("Nibble.Testing").Select(Assembly.Load), text.ToString(), Repository.Files);
    }

    /// <summary>Text of the sources.</summary>
    public string Text { get; }

    /// <summary>Files, relative to the root.</summary>
    public IReadOnlyList<string> Files { get; }

    /// <summary>Folders that hold files, relative to the root.</summary>
    public FrozenSet<string> Folders { get; }

    /// <summary>Whether a word, bounded by what is no letter, digit or underscore, stands in the sources.</summary>
    public bool HasWord(string word) => _words.Contains(word);

    /// <summary>Whether a text stands in the sources and is no part of a longer word there.</summary>
    public bool HasText(string text) => Regex.IsMatch(Text, $@"(?<![\w\-]){Regex.Escape(text)}(?![\w\-])", RegexOptions.CultureInvariant);

    /// <summary>
    /// Whether a dotted name exists: a namespace, a type, a member of a type by way of its members' types, or, where there is one part only, any member.
    /// Types of the framework count where the sources use them.
    /// </summary>
    public bool HasName(string name)
    {
        string[] parts = name.Split('.');
        if (_namespaces.Contains(name)) return true;
        for (int skip = parts.Length - 1; skip >= 0; skip--)
        {
            string prefix = string.Join('.', parts[..skip]);
            if (skip > 0 && !_namespaces.Contains(prefix)) continue;
            foreach (Type type in _types[parts[skip]])
                if ((skip == 0 || type.Namespace == prefix) && HasMembers(type, parts.AsSpan(skip + 1))) return true;
        }

        if (parts.Length == 1 && _members.Contains(name)) return true;
        return HasWord(parts[0]) && _framework.Value[parts[0]].Any(type => HasMembers(type, parts.AsSpan(1)));
    }

    private static bool HasMembers(Type type, ReadOnlySpan<string> parts)
    {
        if (parts.IsEmpty) return true;
        foreach (Type declaring in Ancestry(type))
        {
            foreach (MemberInfo member in declaring.GetMembers(Everything))
            {
                if (Name(member) != parts[0]) continue;
                if (parts.Length == 1) return true;
                Type? next = member switch
                {
                    Type nested => nested,
                    PropertyInfo property => property.PropertyType,
                    FieldInfo field => field.FieldType,
                    MethodInfo method => method.ReturnType,
                    _ => null,
                };
                if (next is not null && HasMembers(next, parts[1..])) return true;
            }
        }

        return false;
    }

    private static IEnumerable<Type> Ancestry(Type type)
    {
        for (Type? t = type; t is not null; t = t.BaseType)
            yield return t;
        foreach (Type t in type.GetInterfaces())
            yield return t;
    }

    private static string Name(MemberInfo member) => member.Name.Split('`')[0];

    private static IEnumerable<string> Prefixes(string name) => Prefixes(name, '.');

    private static IEnumerable<string> Prefixes(string name, char separator)
    {
        for (int end = name.IndexOf(separator); end >= 0; end = name.IndexOf(separator, end + 1))
            yield return name[..end];
        yield return name;
    }

    [GeneratedRegex(@"\w+")]
    private static partial Regex Word();
}
