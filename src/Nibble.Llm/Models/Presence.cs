namespace Nibble.Llm.Models;

/// <summary>Whether a file has a tensor.</summary>
internal enum Presence
{
    /// <summary>The architecture does not know it.</summary>
    Absent,

    /// <summary>It is used where the file has it.</summary>
    Optional,

    /// <summary>A file without it is not run.</summary>
    Required,
}
