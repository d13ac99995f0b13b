namespace Nibble.Core.Gguf;

/// <summary>One line of a file's metadata.</summary>
/// <param name="Key">The key, unique in its file.</param>
/// <param name="Value">The value.</param>
public readonly record struct GgufEntry(string Key, GgufValue Value);
