using System.Text.Json;
using Antiphon.Engine;

namespace Antiphon;

/// <summary>What an <see cref="AnswerPart"/> holds.</summary>
public enum AnswerPartKind
{
    /// <summary>A piece of the answer.</summary>
    Text,

    /// <summary>A piece of what the model thought before it answered.</summary>
    Reasoning,

    /// <summary>A call of one of the tools that were offered.</summary>
    ToolCall,

    /// <summary>The end: why it ended, and what it took. The last part of every answer.</summary>
    End,
}

/// <summary>A call of a tool.</summary>
/// <param name="Name">The tool.</param>
/// <param name="Arguments">A JSON object.</param>
public sealed record ToolCall(string Name, JsonElement Arguments);

/// <summary>A piece of an answer, in the order in which the model produced it. Writing it writes the answer's text alone.</summary>
public readonly record struct AnswerPart
{
    /// <summary>What it holds.</summary>
    public AnswerPartKind Kind { get; init; }

    /// <summary>Text or thought; empty in other parts. Whole characters always.</summary>
    public string Text { get; init; }

    /// <summary>The call, in a part of that kind.</summary>
    public ToolCall? ToolCall { get; init; }

    /// <summary>Why the answer ended, in the last part.</summary>
    public FinishReason FinishReason { get; init; }

    /// <summary>What the request took up to here.</summary>
    public GenerationUsage Usage { get; init; }

    /// <summary>How many of the generated tokens were thought, up to here.</summary>
    public int ReasoningTokens { get; init; }

    /// <summary>The seed of the request: with it, the same request gives the same answer.</summary>
    public long Seed { get; init; }

    /// <summary>The text of a part of the answer; empty for thoughts, calls and the end.</summary>
    public override string ToString() => Kind == AnswerPartKind.Text ? Text : "";
}
