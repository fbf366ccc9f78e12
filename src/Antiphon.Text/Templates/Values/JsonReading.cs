using System.Globalization;
using System.Numerics;
using System.Text.Json;

namespace Antiphon.Text;

/// <summary>Makes values of JSON.</summary>
internal static class JsonReading
{
    /// <summary>The deepest nesting read.</summary>
    public const int MaxDepth = 128;

    /// <summary>As in Python: longer texts of integers take too long to convert.</summary>
    public const int MaxIntegerDigits = 4300;

    public static TemplateValue Read(JsonElement element, bool trusted, int depth = 0)
    {
        if (depth > MaxDepth)
        {
            throw new TemplateException(TemplateErrorKind.Limit, $"the JSON nests deeper than {MaxDepth} levels");
        }

        switch (element.ValueKind)
        {
            case JsonValueKind.Object:
                var dict = new DictValue();
                foreach (JsonProperty property in element.EnumerateObject())
                {
                    dict.Set(StringValue.Of(Text(() => property.Name), !trusted), Read(property.Value, trusted, depth + 1));
                }

                return dict;
            case JsonValueKind.Array:
                var items = new TemplateValue[element.GetArrayLength()];
                int at = 0;
                foreach (JsonElement item in element.EnumerateArray())
                {
                    items[at++] = Read(item, trusted, depth + 1);
                }

                return new ListValue(items);
            case JsonValueKind.String:
                return StringValue.Of(Text(() => element.GetString()!), !trusted);
            case JsonValueKind.Number:
                return Number(element.GetRawText());
            case JsonValueKind.True:
                return BooleanValue.True;
            case JsonValueKind.False:
                return BooleanValue.False;
            case JsonValueKind.Null:
                return NoneValue.Instance;
            default:
                throw new TemplateException(TemplateErrorKind.Value, "the JSON element is empty");
        }
    }

    private static TemplateValue Number(string text)
    {
        if (text.AsSpan().ContainsAny('.', 'e', 'E'))
        {
            return new FloatValue(double.Parse(text, CultureInfo.InvariantCulture));
        }

        return text.Length <= MaxIntegerDigits
            ? IntegerValue.Of(BigInteger.Parse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture))
            : throw new TemplateException(TemplateErrorKind.Value, $"an integer has more than {MaxIntegerDigits} digits");
    }

    private static string Text(Func<string> read)
    {
        try
        {
            return read();
        }
        catch (InvalidOperationException error)
        {
            throw new TemplateException(TemplateErrorKind.Value, "a string holds half a surrogate pair and so is not Unicode", error);
        }
    }
}
