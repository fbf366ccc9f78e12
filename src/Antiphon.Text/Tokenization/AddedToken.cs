namespace Antiphon.Text;

/// <summary>A token that is recognised in text as a whole, before the vocabulary's own splitting.</summary>
public sealed record AddedToken
{
    /// <summary>Its id.</summary>
    public required int Id { get; init; }

    /// <summary>The text that stands for it.</summary>
    public required string Content { get; init; }

    /// <summary>Whether it is a control token, left out of decoded text on request.</summary>
    public bool Special { get; init; }

    /// <summary>Whether it is recognised only where no word character touches it.</summary>
    public bool SingleWord { get; init; }

    /// <summary>Whether it takes the white space before it.</summary>
    public bool LeftStrip { get; init; }

    /// <summary>Whether it takes the white space after it.</summary>
    public bool RightStrip { get; init; }

    /// <summary>Whether it is looked for in normalised text; else in the text as given.</summary>
    public bool Normalized { get; init; }

    // A run of white space that the vocabulary takes as one: it stands for nothing but itself, also in user text.
    internal bool IsPlainSpace => !Special && Content.All(c => char.IsWhiteSpace(c) || c == '\u2581');

    // Whether merging must never yield it, so that user text cannot spell it. A single-word token is left: as part of a word it is an ordinary piece.
    internal bool IsUnspellable => Special || (!IsPlainSpace && !SingleWord);
}
