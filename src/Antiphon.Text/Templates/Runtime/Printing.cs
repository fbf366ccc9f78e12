using System.Globalization;
using System.Text;

namespace Antiphon.Text;

/// <summary>Python's <c>str</c> and <c>repr</c>.</summary>
internal static class Printing
{
    /// <summary>The text of a value; a string is itself.</summary>
    public static StringValue Str(Run run, TemplateValue value)
    {
        switch (value)
        {
            case StringValue s:
                return s;
            case UndefinedValue:
                return StringValue.Empty;
            case NoneValue:
                return None;
            case BooleanValue b:
                return b.Value ? True : False;
            default:
                var text = new TextBuilder(run);
                Repr(run, text, value);
                return text.ToValue();
        }
    }

    public static void Repr(Run run, TextBuilder text, TemplateValue value, int depth = 0)
    {
        run.Step();
        if (depth > SequenceValue.MaxNesting + 1)
        {
            throw Run.Limit($"a printed value nests deeper than {SequenceValue.MaxNesting} levels");
        }

        switch (value)
        {
            case StringValue { IsMarkup: true } s:
                text.Append("Markup(");
                Quote(text, s);
                text.Append(")");
                break;
            case StringValue s:
                Quote(text, s);
                break;
            case IntegerValue i:
                text.Append(Numbers.Text(i.Value));
                break;
            case FloatValue f:
                text.Append(Numbers.Text(f.Value));
                break;
            case BooleanValue b:
                text.Append(b.Value ? "True" : "False");
                break;
            case NoneValue:
                text.Append("None");
                break;
            case UndefinedValue:
                text.Append("Undefined");
                break;
            case ListValue list:
                Items(run, text, "[", list.Items, "]", depth);
                break;
            case TupleValue tuple:
                Items(run, text, "(", tuple.Items, tuple.Items.Count == 1 ? ",)" : ")", depth);
                break;
            case DictValue dict:
                Entries(run, text, dict.Entries, depth);
                break;
            case DictViewValue view:
                text.Append(view.TypeName);
                Items(run, text, "([", view.Items, "])", depth);
                break;
            case RangeValue range:
                text.Append($"range({range.Start}, {range.Stop}{(range.Step.IsOne ? "" : ", " + range.Step)})");
                break;
            case NamespaceValue ns:
                text.Append("<Namespace ");
                Entries(run, text, ns.Attributes.Select(a => new KeyValuePair<TemplateValue, TemplateValue>(StringValue.Of(a.Key), a.Value)), depth);
                text.Append(">");
                break;
            case SelfValue:
                text.Append("<TemplateReference None>");
                break;
            case LoopValue loop:
                text.Append($"<LoopContext {loop.Index}/{loop.Length}>");
                break;
            case FunctionValue function:
                text.Append($"<function {function.Name}>");
                break;
            case MacroValue macro:
                text.Append($"<Macro '{macro.Name}'>");
                break;
            default:
                text.Append($"<{value.TypeName} object>");
                break;
        }
    }

    private static readonly StringValue None = StringValue.Of("None");
    private static readonly StringValue True = StringValue.Of("True");
    private static readonly StringValue False = StringValue.Of("False");

    private static void Items(Run run, TextBuilder text, string open, IReadOnlyList<TemplateValue> items, string close, int depth)
    {
        text.Append(open);
        for (int i = 0; i < items.Count; i++)
        {
            text.Append(i == 0 ? "" : ", ");
            Repr(run, text, items[i], depth + 1);
        }

        text.Append(close);
    }

    private static void Entries(Run run, TextBuilder text, IEnumerable<KeyValuePair<TemplateValue, TemplateValue>> entries, int depth)
    {
        text.Append("{");
        bool first = true;
        foreach ((TemplateValue key, TemplateValue value) in entries)
        {
            text.Append(first ? "" : ", ");
            first = false;
            Repr(run, text, key, depth + 1);
            text.Append(": ");
            Repr(run, text, value, depth + 1);
        }

        text.Append("}");
    }

    private static void Quote(TextBuilder text, StringValue value)
    {
        string s = value.Text;
        char quote = s.Contains('\'', StringComparison.Ordinal) && !s.Contains('"', StringComparison.Ordinal) ? '"' : '\'';
        text.Append([quote]);
        int from = 0;
        for (int i = 0; i < s.Length;)
        {
            int units = value.UnitsAt(i);
            string? escape = Escape(s, i, units, quote);
            if (escape is not null)
            {
                text.Append(value, from, i - from);
                text.Append(escape, value.Origin.IsInputAt(i));
                from = i + units;
            }

            i += units;
        }

        text.Append(value, from, s.Length - from);
        text.Append([quote]);
    }

    private static string? Escape(string s, int at, int units, char quote)
    {
        char c = s[at];
        if (c is >= ' ' and < '\x7f' && c != '\\' && c != quote)
        {
            return null;
        }

        if (c == '\\' || c == quote)
        {
            return "\\" + c;
        }

        switch (c)
        {
            case '\n':
                return "\\n";
            case '\r':
                return "\\r";
            case '\t':
                return "\\t";
        }

        UnicodeCategory category = CharUnicodeInfo.GetUnicodeCategory(s, at);
        if (category is not (UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.Surrogate or UnicodeCategory.PrivateUse
            or UnicodeCategory.OtherNotAssigned or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator or UnicodeCategory.SpaceSeparator))
        {
            return null;
        }

        int code = units == 2 ? char.ConvertToUtf32(c, s[at + 1]) : c;
        return code < 0x100 ? $"\\x{code:x2}" : code < 0x10000 ? $"\\u{code:x4}" : $"\\U{code:x8}";
    }
}
