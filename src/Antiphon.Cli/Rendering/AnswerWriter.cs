namespace Antiphon.Cli;

/// <summary>Writes an answer as it comes: thoughts dimmed on a terminal, and only text where results are redirected.</summary>
internal sealed class AnswerWriter(Terminal terminal)
{
    private bool dimmed;
    private bool wrote;

    /// <summary>Writes a part.</summary>
    public void Write(AnswerPart part)
    {
        switch (part.Kind)
        {
            case AnswerPartKind.Reasoning when terminal.OutputIsTerminal:
                if (!dimmed && terminal.Color)
                {
                    terminal.Out.Write("\u001b[2m");
                }

                dimmed = true;
                wrote = true;
                terminal.Out.Write(Printable(part.Text));
                break;
            case AnswerPartKind.Text:
                EndThought();
                wrote = true;
                terminal.Out.Write(terminal.OutputIsTerminal ? Printable(part.Text) : part.Text);
                break;
            case AnswerPartKind.ToolCall:
                EndThought();
                wrote = true;
                terminal.Out.Write($"{part.ToolCall!.Name}({part.ToolCall.Arguments.GetRawText()})\n");
                break;
        }

        terminal.Out.Flush();
    }

    /// <summary>Ends the answer, finished or not: no colour is left on, and what follows starts on a new line.</summary>
    public void End()
    {
        if (dimmed && terminal.Color)
        {
            terminal.Out.Write("\u001b[0m");
        }

        dimmed = false;
        if (wrote)
        {
            terminal.Out.WriteLine();
        }

        wrote = false;
        terminal.Out.Flush();
    }

    private void EndThought()
    {
        if (dimmed)
        {
            terminal.Out.Write(terminal.Color ? "\u001b[0m\n\n" : "\n\n");
            dimmed = false;
        }
    }

    /// <summary>A model's text is not trusted with the terminal: control characters other than line breaks and tabs are shown, not sent.</summary>
    private static string Printable(string text)
    {
        if (!text.AsSpan().ContainsAnyInRange('\u0000', '\u001f') && !text.AsSpan().ContainsAnyInRange('\u007f', '\u009f'))
        {
            return text;
        }

        return string.Create(text.Length, text, (span, source) =>
        {
            for (int i = 0; i < span.Length; i++)
            {
                char c = source[i];
                span[i] = char.IsControl(c) && c is not ('\n' or '\t' or '\r') ? '\uFFFD' : c;
            }
        });
    }
}
