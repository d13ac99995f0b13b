using System.Collections.Immutable;
using Nibble.Core.Gguf;
using Nibble.Llm.Layers;

namespace Nibble.Llm.Models;

/// <summary>The table of architectures: the value of <c>general.architecture</c>, and what builds a forward pass from such a file.</summary>
public static class Architectures
{
    private static readonly ImmutableArray<(string Name, Func<ModelReader, Decoder> Build)> Table =
    [
        ("llama", LlamaArchitecture.Build),
    ];

    /// <summary>Names of the architectures that run.</summary>
    public static ImmutableArray<string> Names { get; } = [.. Table.Select(row => row.Name)];

    internal static Decoder Build(GgufFile file, ModelReader reader)
    {
        foreach ((string name, Func<ModelReader, Decoder> build) in Table)
            if (name == reader.Architecture) return build(reader);
        throw file.Metadata.Error("general.architecture", $"architecture '{reader.Architecture}' is not supported; supported: {string.Join(", ", Names)}.");
    }
}
