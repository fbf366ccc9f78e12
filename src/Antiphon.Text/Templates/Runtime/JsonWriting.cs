using System.Numerics;

namespace Antiphon.Text;

/// <summary>The filter <c>tojson</c>: JSON as Python's <c>json.dumps</c> lays it out.</summary>
internal sealed class JsonWriting
{
    private readonly Run _run;
    private readonly TextBuilder _text;
    private readonly bool _asciiOnly;
    private readonly StringValue? _indent;
    private readonly StringValue _itemSeparator;
    private readonly StringValue _keySeparator;
    private readonly bool _sortsKeys;

    private JsonWriting(Run run, bool asciiOnly, StringValue? indent, StringValue itemSeparator, StringValue keySeparator, bool sortsKeys)
    {
        (_run, _text) = (run, new TextBuilder(run));
        (_asciiOnly, _indent, _itemSeparator, _keySeparator, _sortsKeys) = (asciiOnly, indent, itemSeparator, keySeparator, sortsKeys);
    }

    public static TemplateValue Filter(Run run, TemplateValue value, Arguments arguments)
    {
        TemplateValue?[] given = arguments.Bind("tojson", 0, "ensure_ascii", "indent", "separators", "sort_keys");
        StringValue? indent = given[1] switch
        {
            null or NoneValue => null,
            StringValue s => s,
            { } other => Indentation(run, other),
        };
        StringValue item = StringValue.Of(indent is null ? ", " : ",");
        StringValue key = StringValue.Of(": ");
        if (given[2] is { } separators and not NoneValue)
        {
            IReadOnlyList<TemplateValue> pair = Lookup.Iterate(run, separators);
            if (pair is not [StringValue first, StringValue second])
            {
                throw Error("separators must be a pair of strings");
            }

            (item, key) = (first, second);
        }

        var writing = new JsonWriting(run, given[0]?.IsTrue ?? false, indent, item, key, given[3]?.IsTrue ?? false);
        writing.Write(value, 0);
        return writing._text.ToValue();
    }

    private static StringValue Indentation(Run run, TemplateValue value)
    {
        BigInteger width = ValueComparer.AsInteger(value) ?? throw Error("indent must be an integer or a string");
        var text = new TextBuilder(run);
        text.AppendRepeated(' ', (long)BigInteger.Min(BigInteger.Max(width, 0), long.MaxValue / 4));
        return text.ToValue();
    }

    private void Write(TemplateValue value, int depth)
    {
        _run.Step();
        switch (value)
        {
            case StringValue s:
                Quote(s);
                break;
            case DictValue dict:
                WriteDict(dict, depth);
                break;
            case SequenceValue sequence:
                WriteItems(sequence.Items, depth);
                break;
            default:
                _text.Append(Scalar(value) ?? throw (Error($"Object of type {value.TypeName} is not JSON serializable")));
                break;
        }
    }

    private static string? Scalar(TemplateValue value) => value switch
    {
        NoneValue => "null",
        BooleanValue b => b.Value ? "true" : "false",
        IntegerValue i => Numbers.Text(i.Value),
        FloatValue { Value: double.PositiveInfinity } => "Infinity",
        FloatValue { Value: double.NegativeInfinity } => "-Infinity",
        FloatValue { Value: double.NaN } => "NaN",
        FloatValue f => Numbers.Text(f.Value),
        _ => null,
    };

    private void WriteItems(IReadOnlyList<TemplateValue> items, int depth)
    {
        if (items.Count == 0)
        {
            _text.Append("[]");
            return;
        }

        _text.Append("[");
        for (int i = 0; i < items.Count; i++)
        {
            Separate(i, depth + 1);
            Write(items[i], depth + 1);
        }

        EndLine(depth);
        _text.Append("]");
    }

    private void WriteDict(DictValue dict, int depth)
    {
        if (dict.Count == 0)
        {
            _text.Append("{}");
            return;
        }

        IReadOnlyList<KeyValuePair<TemplateValue, TemplateValue>> entries = _sortsKeys
            ? Sorting.Sort(_run, dict.Entries, static entry => entry.Key)
            : dict.Entries;
        _text.Append("{");
        for (int i = 0; i < entries.Count; i++)
        {
            Separate(i, depth + 1);
            (TemplateValue key, TemplateValue item) = entries[i];
            if (key is StringValue s)
            {
                Quote(s);
            }
            else
            {
                _text.Append("\"");
                _text.Append(Scalar(key) ?? throw Error($"keys must be str, int, float, bool or None, not {key.TypeName}"));
                _text.Append("\"");
            }

            _text.Append(_keySeparator);
            Write(item, depth + 1);
        }

        EndLine(depth);
        _text.Append("}");
    }

    private void Separate(int index, int depth)
    {
        if (index > 0)
        {
            _text.Append(_itemSeparator);
        }

        EndLine(depth);
    }

    private void EndLine(int depth)
    {
        if (_indent is null)
        {
            return;
        }

        _text.Append("\n");
        for (int i = 0; i < depth; i++)
        {
            _text.Append(_indent);
        }
    }

    private void Quote(StringValue value)
    {
        string s = value.Text;
        _text.Append("\"");
        int from = 0;
        for (int i = 0; i < s.Length; i++)
        {
            char c = s[i];
            string? escape = c switch
            {
                '"' => "\\\"",
                '\\' => "\\\\",
                '\n' => "\\n",
                '\r' => "\\r",
                '\t' => "\\t",
                '\f' => "\\f",
                '\b' => "\\b",
                < ' ' => $"\\u{(int)c:x4}",
                > '~' when _asciiOnly => $"\\u{(int)c:x4}",
                _ => null,
            };
            if (escape is not null)
            {
                _text.Append(value, from, i - from);
                _text.Append(escape, value.Origin.IsInputAt(i));
                from = i + 1;
            }
        }

        _text.Append(value, from, s.Length - from);
        _text.Append("\"");
    }

    private static TemplateException Error(string message) => new(TemplateErrorKind.Type, message);
}
