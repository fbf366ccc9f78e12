using Antiphon.Engine;

namespace Antiphon.Tests;

/// <summary>A whole answer, for assertions.</summary>
internal sealed record Answer(string Text, string Reasoning, IReadOnlyList<ToolCall> Calls, AnswerPart End)
{
    public const string Story = "Tell me a story about a fox and a river.";

    public static GenerationOptions Greedy { get; } = new() { Sampling = SamplingOptions.Greedy };

    public static async Task<Answer> Of(IAsyncEnumerable<AnswerPart> parts)
    {
        string text = "", reasoning = "";
        List<ToolCall> calls = [];
        AnswerPart? end = null;
        await foreach (AnswerPart part in parts)
        {
            Assert.Null(end);
            text += part.Kind == AnswerPartKind.Text ? part.Text : "";
            reasoning += part.Kind == AnswerPartKind.Reasoning ? part.Text : "";
            if (part.ToolCall is { } call)
            {
                calls.Add(call);
            }

            end = part.Kind == AnswerPartKind.End ? part : null;
        }

        Assert.NotNull(end);
        return new Answer(text, reasoning, calls, end.Value);
    }
}
