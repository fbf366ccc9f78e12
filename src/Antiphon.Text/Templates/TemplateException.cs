namespace Antiphon.Text;

/// <summary>What went wrong in a chat template.</summary>
public enum TemplateErrorKind
{
    /// <summary>The source is not a valid template. Reported when it is compiled.</summary>
    Syntax,

    /// <summary>A name or attribute that does not exist was used.</summary>
    Undefined,

    /// <summary>An operation does not exist for values of these types, or a call has the wrong arguments.</summary>
    Type,

    /// <summary>An operation exists for the type but not for this value.</summary>
    Value,

    /// <summary>A limit of <see cref="TemplateLimits"/> was reached.</summary>
    Limit,

    /// <summary>The template itself refused the conversation by calling <c>raise_exception</c>.</summary>
    RaisedByTemplate,

    /// <summary>The template reached for something the sandbox forbids.</summary>
    Security,

    /// <summary>The conversation does not fit what was asked (empty, or a final message that cannot be continued).</summary>
    Input,
}

/// <summary>A chat template could not be compiled or rendered.</summary>
public sealed class TemplateException : Exception
{
    /// <summary>Makes an error of a kind.</summary>
    public TemplateException(TemplateErrorKind kind, string message)
        : base(message)
    {
        Kind = kind;
    }

    /// <summary>Makes an error of a kind with the error that caused it.</summary>
    public TemplateException(TemplateErrorKind kind, string message, Exception inner)
        : base(message, inner)
    {
        Kind = kind;
    }

    /// <summary>What went wrong.</summary>
    public TemplateErrorKind Kind { get; }

    /// <summary>The line of the source, counted from 1, where that is known; else 0.</summary>
    public int Line { get; internal set; }
}
