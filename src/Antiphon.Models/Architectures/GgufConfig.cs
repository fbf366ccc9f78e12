namespace Antiphon.Models;

/// <summary>The metadata of a GGUF file under the prefix of its architecture.</summary>
internal sealed class GgufConfig(GgufMetadata metadata, string architecture) : ConfigReader
{
    public override bool Has(string field) => metadata.Contains(FullName(field));

    protected override string FullName(string field) => $"{architecture}.{field}";

    protected override bool TryNumber(string field, out double value)
    {
        value = 0;
        if (!metadata.TryGetValue(FullName(field), out GgufValue found))
        {
            return false;
        }

        if (found.TryGetInteger(out Int128 integer))
        {
            value = (double)integer;
            return true;
        }

        return found.TryGetFloat(out value);
    }

    protected override bool TryFlag(string field, out bool value)
    {
        value = false;
        return metadata.TryGetValue(FullName(field), out GgufValue found) && found.TryGetBoolean(out value);
    }

    protected override bool TryText(string field, out string value)
    {
        bool isText = metadata.TryGetString(FullName(field), out string? text);
        value = text ?? "";
        return isText;
    }

    protected override bool TryNumbers(string field, out double[] values)
    {
        values = [];
        if (!metadata.TryGetValue(FullName(field), out GgufValue found) || found.Type != GgufValueType.Array)
        {
            return false;
        }

        values = new double[found.Count];
        int i = 0;
        foreach (GgufValue item in found.Elements())
        {
            if (item.TryGetInteger(out Int128 integer))
            {
                values[i++] = (double)integer;
            }
            else if (!item.TryGetFloat(out values[i++]))
            {
                return false;
            }
        }

        return true;
    }

    protected override bool TryTexts(string field, out string[] values)
    {
        values = metadata.GetStringArray(FullName(field));
        return true;
    }
}
