namespace Antiphon.Text;

/// <summary>Text that is HTML: what joins it is escaped.</summary>
internal static class Markup
{
    /// <summary>The text as markup; escaped unless it is markup already.</summary>
    public static StringValue Escape(Run run, StringValue value, bool force = false)
    {
        if (value.IsMarkup && !force)
        {
            return value;
        }

        string text = value.Text;
        run.Step(text.Length >> 5);
        if (!text.AsSpan().ContainsAny("&<>\"'"))
        {
            return value.AsMarkup();
        }

        var escaped = new TextBuilder(run);
        int from = 0;
        for (int i = 0; i < text.Length; i++)
        {
            string? entity = text[i] switch
            {
                '&' => "&amp;",
                '<' => "&lt;",
                '>' => "&gt;",
                '"' => "&#34;",
                '\'' => "&#39;",
                _ => null,
            };
            if (entity is not null)
            {
                escaped.Append(value, from, i - from);
                escaped.Append(entity, value.Origin.IsInputAt(i));
                from = i + 1;
            }
        }

        escaped.Append(value, from, text.Length - from);
        return escaped.ToValue(isMarkup: true);
    }

    /// <summary>An operand as it goes into an operation of a text: escaped when that text is markup.</summary>
    public static StringValue Operand(Run run, StringValue of, StringValue operand) => of.IsMarkup ? Escape(run, operand) : operand;
}
