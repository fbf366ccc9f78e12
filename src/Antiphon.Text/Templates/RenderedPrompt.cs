namespace Antiphon.Text;

/// <summary>A stretch of a rendered prompt with one origin.</summary>
/// <param name="Start">Where it starts in <see cref="RenderedPrompt.Text"/>, in UTF-16 units.</param>
/// <param name="Length">Its length in UTF-16 units, at least 1.</param>
/// <param name="IsInput">
/// True when the text comes from the conversation (messages, tools, documents) and so must never be read as control tokens;
/// false when it comes from the template or from a trusted variable.
/// </param>
public readonly record struct PromptSegment(int Start, int Length, bool IsInput);

/// <summary>
/// The text that a chat template makes of a conversation. A special token may be recognised only where it lies wholly
/// in segments that are not input, so that a user who types <c>&lt;|im_end|&gt;</c> sends those letters and not the token.
/// </summary>
public sealed class RenderedPrompt
{
    /// <summary>Makes a prompt.</summary>
    /// <param name="text">The text.</param>
    /// <param name="segments">Segments that cover the text without gap or overlap, in order, neighbours of different origin.</param>
    public RenderedPrompt(string text, IReadOnlyList<PromptSegment> segments)
    {
        Text = text;
        Segments = segments;
    }

    /// <summary>The whole text.</summary>
    public string Text { get; }

    /// <summary>Segments that cover <see cref="Text"/> without gap or overlap, in order.</summary>
    public IReadOnlyList<PromptSegment> Segments { get; }

    /// <summary>The text.</summary>
    public override string ToString() => Text;
}
