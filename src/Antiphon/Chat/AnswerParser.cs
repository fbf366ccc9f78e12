using System.Text;
using System.Text.Json;

namespace Antiphon;

/// <summary>
/// Splits what a model writes into thought (<c>&lt;think&gt;…&lt;/think&gt;</c>), text and tool calls (<c>&lt;tool_call&gt;{…}&lt;/tool_call&gt;</c>),
/// however the text is cut into pieces: the parts of a streamed answer, put together, are those of the whole one.
/// </summary>
/// <remarks>
/// A thought is recognised only where an answer starts, and calls only where tools were offered; everywhere else markers are text. The line breaks
/// that templates put around thoughts and calls belong to neither. What claims to be a call and is none comes out as text: nothing is lost.
/// </remarks>
internal sealed class AnswerParser
{
    private const string ThinkStart = "<think>";
    private const string ThinkEnd = "</think>";
    private const string CallStart = "<tool_call>";
    private const string CallEnd = "</tool_call>";

    private readonly bool tools;
    private readonly StringBuilder pending = new();
    private State state;
    private bool dropLeadingBreaks;
    private int searched;

    /// <summary>Starts a parser.</summary>
    /// <param name="prompt">The prompt that the model continues; it may have opened a thought.</param>
    /// <param name="tools">Whether tools were offered.</param>
    public AnswerParser(ReadOnlySpan<char> prompt, bool tools)
    {
        this.tools = tools;
        state = prompt.TrimEnd().EndsWith(ThinkStart, StringComparison.Ordinal) ? State.Thought : State.Start;
        dropLeadingBreaks = state == State.Thought;
    }

    private enum State
    {
        Start,
        Thought,
        Text,
        Call,
    }

    /// <summary>Whether what comes next is thought.</summary>
    public bool IsThinking => state == State.Thought;

    /// <summary>Takes a piece and adds the parts that are certain now.</summary>
    public void Append(string text, List<AnswerPart> parts)
    {
        pending.Append(text);
        while (Step(parts, final: false))
        {
        }
    }

    /// <summary>Ends the answer and adds what was held back.</summary>
    public void Finish(List<AnswerPart> parts)
    {
        while (Step(parts, final: true))
        {
        }
    }

    private bool Step(List<AnswerPart> parts, bool final) => state switch
    {
        State.Start => StepStart(final),
        State.Thought => StepText(parts, AnswerPartKind.Reasoning, ThinkEnd, final),
        State.Text => StepText(parts, AnswerPartKind.Text, null, final),
        _ => StepCall(parts, final),
    };

    private bool StepStart(bool final)
    {
        string all = pending.ToString();
        ReadOnlySpan<char> rest = all.AsSpan().TrimStart();
        if (rest.StartsWith(ThinkStart))
        {
            pending.Remove(0, all.Length - rest.Length + ThinkStart.Length);
            Enter(State.Thought);
        }
        else if (!final && ThinkStart.AsSpan().StartsWith(rest))
        {
            return false;
        }
        else
        {
            state = State.Text;
        }

        return true;
    }

    /// <summary>Passes on running text up to the next marker, less what could still turn out to be a marker or the break before one.</summary>
    private bool StepText(List<AnswerPart> parts, AnswerPartKind kind, string? end, bool final)
    {
        if (dropLeadingBreaks)
        {
            int breaks = 0;
            while (breaks < pending.Length && pending[breaks] is '\n' or '\r')
            {
                breaks++;
            }

            pending.Remove(0, breaks);
            if (pending.Length == 0)
            {
                return false;
            }

            dropLeadingBreaks = false;
        }

        string all = pending.ToString();
        int endAt = end is null ? -1 : all.IndexOf(end, StringComparison.Ordinal);
        int callAt = tools ? all.IndexOf(CallStart, StringComparison.Ordinal) : -1;
        bool isEnd = endAt >= 0 && (callAt < 0 || endAt < callAt);
        if (isEnd || callAt >= 0)
        {
            int at = isEnd ? endAt : callAt;
            Emit(parts, kind, all.AsSpan(0, at).TrimEnd("\r\n"));
            pending.Remove(0, at + (isEnd ? ThinkEnd : CallStart).Length);
            thoughtAroundCall = !isEnd && kind == AnswerPartKind.Reasoning;
            Enter(isEnd ? State.Text : State.Call);
            return true;
        }

        int certain = all.Length;
        if (!final)
        {
            int held = Math.Max(end is null ? 0 : HeldFor(all, end), tools ? HeldFor(all, CallStart) : 0);
            certain -= held;
            if (end is not null || tools)
            {
                certain = all.AsSpan(0, certain).TrimEnd("\r\n").Length;
            }
        }
        else if (end is not null)
        {
            certain = all.AsSpan().TrimEnd("\r\n").Length;
        }

        Emit(parts, kind, all.AsSpan(0, certain));
        pending.Remove(0, final ? all.Length : certain);
        return false;
    }

    private bool StepCall(List<AnswerPart> parts, bool final)
    {
        string all = pending.ToString();
        int at;
        while ((at = all.IndexOf(CallEnd, searched, StringComparison.Ordinal)) >= 0)
        {
            if (TryReadCall(all.AsSpan(0, at), out ToolCall? call))
            {
                parts.Add(new AnswerPart { Kind = AnswerPartKind.ToolCall, Text = "", ToolCall = call });
                pending.Remove(0, at + CallEnd.Length);
                Enter(thoughtAroundCall ? State.Thought : State.Text);
                return true;
            }

            // The marker may stand in a string of the call: the end is the one behind which the call is complete.
            searched = at + CallEnd.Length;
        }

        searched = Math.Max(searched, all.Length - CallEnd.Length + 1);
        if (final)
        {
            // An answer may end (at a stop token or the token limit) before the marker; the call counts when it is complete.
            if (TryReadCall(all, out ToolCall? call))
            {
                parts.Add(new AnswerPart { Kind = AnswerPartKind.ToolCall, Text = "", ToolCall = call });
            }
            else
            {
                Emit(parts, AnswerPartKind.Text, CallStart + all);
            }

            pending.Clear();
            state = State.Text;
        }

        return false;
    }

    private bool thoughtAroundCall;

    private void Enter(State next)
    {
        state = next;
        dropLeadingBreaks = next != State.Call;
        searched = 0;
    }

    private static void Emit(List<AnswerPart> parts, AnswerPartKind kind, ReadOnlySpan<char> text)
    {
        if (text.Length > 0)
        {
            parts.Add(new AnswerPart { Kind = kind, Text = text.ToString() });
        }
    }

    /// <summary>Length of the longest end of a text that a marker begins with.</summary>
    private static int HeldFor(ReadOnlySpan<char> text, string marker)
    {
        for (int length = Math.Min(text.Length, marker.Length - 1); length > 0; length--)
        {
            if (marker.AsSpan().StartsWith(text[^length..]))
            {
                return length;
            }
        }

        return 0;
    }

    private static bool TryReadCall(ReadOnlySpan<char> json, out ToolCall? call)
    {
        call = null;
        try
        {
            using JsonDocument document = JsonDocument.Parse(json.ToString());
            JsonElement root = document.RootElement;
            if (root.ValueKind != JsonValueKind.Object || !root.TryGetProperty("name", out JsonElement name) || name.ValueKind != JsonValueKind.String)
            {
                return false;
            }

            if (!root.TryGetProperty("arguments", out JsonElement arguments) && !root.TryGetProperty("parameters", out arguments))
            {
                using JsonDocument none = JsonDocument.Parse("{}");
                arguments = none.RootElement.Clone();
            }

            if (arguments.ValueKind == JsonValueKind.String)
            {
                using JsonDocument inner = JsonDocument.Parse(arguments.GetString()!);
                arguments = inner.RootElement.Clone();
            }

            if (arguments.ValueKind != JsonValueKind.Object)
            {
                return false;
            }

            call = new ToolCall(name.GetString()!, arguments.Clone());
            return true;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return false;
        }
    }
}
