namespace Antiphon.Engine;

/// <summary>The range checks of requests and options. Not-a-number is outside every range.</summary>
internal static class Check
{
    public static void Range(string field, long value, long low, long high)
    {
        if (value < low || value > high)
        {
            throw new InvalidRequestException(field, $"{value} is outside {low} to {high}");
        }
    }

    public static void Range(string field, float value, float low, float high)
    {
        if (!(value >= low && value <= high))
        {
            throw new InvalidRequestException(field, FormattableString.Invariant($"{value} is outside {low} to {high}"));
        }
    }

    public static void Positive(string field, float value, float high)
    {
        if (!(value > 0 && value <= high))
        {
            throw new InvalidRequestException(field, FormattableString.Invariant($"{value} must be above 0 and at most {high}"));
        }
    }

    public static T Given<T>(string field, T? value)
        where T : class => value ?? throw new InvalidRequestException(field, "must not be null");
}
