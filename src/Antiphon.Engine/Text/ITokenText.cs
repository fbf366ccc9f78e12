namespace Antiphon.Engine;

/// <summary>What the engine needs to know of a vocabulary: which tokens end an answer, and how tokens become text.</summary>
public interface ITokenText
{
    /// <summary>Tokens with which the model ends an answer (end of text, end of turn).</summary>
    IReadOnlyCollection<int> EndTokens { get; }

    /// <summary>The bytes of a token: what it adds to a text, out of context. Empty for tokens that have none.</summary>
    ReadOnlySpan<byte> TokenBytes(int token);

    /// <summary>A decoder for one answer.</summary>
    /// <param name="skipSpecial">Whether control tokens are left out.</param>
    ITokenTextDecoder CreateDecoder(bool skipSpecial);
}

/// <summary>Turns the tokens of one answer into text, piece by piece, without ever splitting a character.</summary>
public interface ITokenTextDecoder
{
    /// <summary>Adds a token and returns the text that is complete with it; empty while a character is unfinished.</summary>
    string Append(int token);

    /// <summary>Returns what is left, unfinished characters as U+FFFD.</summary>
    string Flush();
}
