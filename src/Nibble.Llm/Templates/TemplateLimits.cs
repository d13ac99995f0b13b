namespace Nibble.Llm.Templates;

/// <summary>Bounds on what one template may cost. A template comes with a model file, so it is untrusted.</summary>
public static class TemplateLimits
{
    /// <summary>The largest source, in bytes of UTF-8.</summary>
    public const int SourceBytes = 1 << 20;

    /// <summary>
    /// Steps of one rendering. A step is a statement, an iteration, a call of a macro, function, filter or test; 16 expression
    /// nodes, 64 characters copied or scanned, or 4 items copied count as one too.
    /// </summary>
    public const int Steps = 1_000_000;

    /// <summary>The largest output, in bytes of UTF-8; no string on the way may have more UTF-16 code units than this.</summary>
    public const int OutputBytes = 4 << 20;

    /// <summary>How deep statements, brackets, values, macro calls and recursive loops may nest.</summary>
    public const int Depth = 100;

    /// <summary>The most items of one <c>range</c>.</summary>
    public const int RangeItems = 100_000;

    /// <summary>The largest integer's magnitude, in bits.</summary>
    public const int IntegerBits = 4096;
}
