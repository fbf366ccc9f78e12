namespace Antiphon.Models;

/// <summary>
/// Typed, range-checked access to the fields of a model's config, whatever file they come from. A field that is null counts as absent.
/// Every error is a <see cref="ModelFormatException"/> that names the field.
/// </summary>
internal abstract class ConfigReader
{
    /// <summary>Largest size that any one field may state; products of two stay far from overflow.</summary>
    public const int LargestSize = 1 << 24;

    /// <summary>The field's full name, for messages.</summary>
    protected abstract string FullName(string field);

    /// <summary>Whether the field is there and not null.</summary>
    public abstract bool Has(string field);

    protected abstract bool TryNumber(string field, out double value);

    protected abstract bool TryFlag(string field, out bool value);

    protected abstract bool TryText(string field, out string value);

    protected abstract bool TryNumbers(string field, out double[] values);

    protected abstract bool TryTexts(string field, out string[] values);

    /// <summary>A required whole number.</summary>
    public int Int(string field, int smallest = 1, int largest = LargestSize)
    {
        if (!Has(field))
        {
            throw new ModelFormatException($"the config lacks {FullName(field)}");
        }

        return TryNumber(field, out double value) && value == Math.Floor(value) && value >= smallest && value <= largest
            ? (int)value
            : throw new ModelFormatException($"the config's {FullName(field)} must be a whole number from {smallest} to {largest}");
    }

    /// <summary>An optional whole number.</summary>
    public int IntOr(string field, int absent, int smallest = 1, int largest = LargestSize) => Has(field) ? Int(field, smallest, largest) : absent;

    /// <summary>A required number.</summary>
    public double Number(string field)
    {
        if (!Has(field))
        {
            throw new ModelFormatException($"the config lacks {FullName(field)}");
        }

        return TryNumber(field, out double value) && double.IsFinite(value) && Math.Abs(value) <= 1e30
            ? value
            : throw new ModelFormatException($"the config's {FullName(field)} must be a finite number");
    }

    /// <summary>An optional number.</summary>
    public double NumberOr(string field, double absent) => Has(field) ? Number(field) : absent;

    /// <summary>An optional number above zero.</summary>
    public double PositiveOr(string field, double absent)
    {
        double value = NumberOr(field, absent);
        return value > 0 ? value : throw new ModelFormatException($"the config's {FullName(field)} must be above 0, it is {value}");
    }

    /// <summary>An optional flag.</summary>
    public bool FlagOr(string field, bool absent)
    {
        if (!Has(field))
        {
            return absent;
        }

        return TryFlag(field, out bool value) ? value : throw new ModelFormatException($"the config's {FullName(field)} must be true or false");
    }

    /// <summary>An optional text.</summary>
    public string TextOr(string field, string absent)
    {
        if (!Has(field))
        {
            return absent;
        }

        return TryText(field, out string value) ? value : throw new ModelFormatException($"the config's {FullName(field)} must be a text");
    }

    /// <summary>A required list of positive numbers of a given length.</summary>
    public float[] Numbers(string field, int count)
    {
        if (!Has(field) || !TryNumbers(field, out double[] values) || values.Length != count)
        {
            throw new ModelFormatException($"the config's {FullName(field)} must be a list of {count} numbers");
        }

        float[] result = new float[count];
        for (int i = 0; i < count; i++)
        {
            result[i] = values[i] is > 0 and < 1e30
                ? (float)values[i]
                : throw new ModelFormatException($"the config's {FullName(field)} must hold numbers above 0; number {i} is {values[i]}");
        }

        return result;
    }

    /// <summary>An optional list of whole numbers.</summary>
    public int[] IntsOr(string field, int[] absent)
    {
        if (!Has(field))
        {
            return absent;
        }

        if (!TryNumbers(field, out double[] values))
        {
            throw new ModelFormatException($"the config's {FullName(field)} must be a list of whole numbers");
        }

        int[] result = new int[values.Length];
        for (int i = 0; i < values.Length; i++)
        {
            result[i] = values[i] == Math.Floor(values[i]) && Math.Abs(values[i]) <= int.MaxValue
                ? (int)values[i]
                : throw new ModelFormatException($"the config's {FullName(field)} must be a list of whole numbers");
        }

        return result;
    }

    /// <summary>An optional list of texts of a given length.</summary>
    public string[]? Texts(string field, int count)
    {
        if (!Has(field))
        {
            return null;
        }

        return TryTexts(field, out string[] values) && values.Length == count
            ? values
            : throw new ModelFormatException($"the config's {FullName(field)} must be a list of {count} texts, one for each layer");
    }

    /// <summary>The error for a field whose value is well formed but not known.</summary>
    public UnsupportedModelException Unsupported(string field) => new($"{FullName(field)} '{TextOr(field, "")}'");
}
