namespace Antiphon.Text;

/// <summary>
/// A tokenizer or vocabulary that cannot be used: malformed, over a limit, or made of a component that is not supported.
/// The message names the field and what to do next.
/// </summary>
public sealed class TokenizerFormatException : Exception
{
    /// <summary>Creates the exception for a malformed tokenizer.</summary>
    public TokenizerFormatException(string message)
        : base(message)
    {
    }

    /// <summary>Creates the exception for a malformed tokenizer, with its cause.</summary>
    public TokenizerFormatException(string message, Exception innerException)
        : base(message, innerException)
    {
    }

    private TokenizerFormatException(string message, bool unsupported)
        : base(message)
    {
        Unsupported = unsupported;
    }

    /// <summary>Whether the file is well formed but uses a component that Antiphon does not have; else the file is at fault.</summary>
    public bool Unsupported { get; }

    internal static TokenizerFormatException NotSupported(string component) =>
        new($"{component} is not supported by this version of Antiphon; use a model with another tokenizer", unsupported: true);
}
