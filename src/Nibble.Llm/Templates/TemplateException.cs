namespace Nibble.Llm.Templates;

/// <summary>What kind of failure a <see cref="TemplateException"/> reports.</summary>
public enum TemplateErrorKind
{
    /// <summary>The template's text is not valid, or names a tag, filter or test that does not exist.</summary>
    Syntax,

    /// <summary>An operation on values failed while rendering: a wrong type, an undefined value, a wrong argument.</summary>
    Runtime,

    /// <summary>The template itself refused the conversation by calling <c>raise_exception</c>.</summary>
    Raised,

    /// <summary>A bound of <see cref="TemplateLimits"/> was exceeded.</summary>
    Limit,
}

/// <summary>A chat template could not be parsed or rendered.</summary>
public sealed class TemplateException : Exception
{
    internal TemplateException(TemplateErrorKind kind, string reason, int line, int column)
        : base($"Chat template, line {line}, column {column}: {reason}")
    {
        Kind = kind;
        Reason = reason;
        Line = line;
        Column = column;
    }

    /// <summary>The kind of failure.</summary>
    public TemplateErrorKind Kind { get; }

    /// <summary>The reason without the position; for <see cref="TemplateErrorKind.Raised"/> exactly the message the template gave.</summary>
    public string Reason { get; }

    /// <summary>The line in the template's source, counted from 1.</summary>
    public int Line { get; }

    /// <summary>The column in UTF-16 code units, counted from 1.</summary>
    public int Column { get; }
}
