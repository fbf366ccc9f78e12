using System.Globalization;

namespace Antiphon.Text;

/// <summary><c>strftime</c> in the C locale.</summary>
internal static class TimeFormat
{
    public static StringValue Format(Run run, StringValue format, DateTime time)
    {
        var text = new TextBuilder(run);
        string source = format.Text;
        for (int at = 0; at < source.Length; at++)
        {
            if (source[at] != '%' || at + 1 == source.Length)
            {
                text.Append(format, at, 1);
                continue;
            }

            int start = at++;
            bool unpadded = source[at] == '-' && at + 1 < source.Length;
            at += unpadded ? 1 : 0;
            string? field = Field(source[at], time);
            if (field is null)
            {
                text.Append(format, start, at - start + 1);
            }
            else
            {
                text.Append(unpadded ? field.TrimStart('0', ' ') is { Length: > 0 } trimmed ? trimmed : "0" : field);
            }
        }

        return text.ToValue();
    }

    private static string? Field(char directive, DateTime t)
    {
        CultureInfo c = CultureInfo.InvariantCulture;
        int sundayWeek = (t.DayOfYear + 6 - (int)t.DayOfWeek) / 7;
        int mondayWeek = (t.DayOfYear + 6 - (((int)t.DayOfWeek + 6) % 7)) / 7;
        int hour = t.Hour % 12 == 0 ? 12 : t.Hour % 12;
        return directive switch
        {
            'Y' => t.Year.ToString(c),
            'C' => (t.Year / 100).ToString("00", c),
            'y' => (t.Year % 100).ToString("00", c),
            'm' => t.Month.ToString("00", c),
            'd' => t.Day.ToString("00", c),
            'e' => t.Day.ToString(c).PadLeft(2),
            'H' => t.Hour.ToString("00", c),
            'k' => t.Hour.ToString(c).PadLeft(2),
            'I' => hour.ToString("00", c),
            'l' => hour.ToString(c).PadLeft(2),
            'M' => t.Minute.ToString("00", c),
            'S' => t.Second.ToString("00", c),
            'f' => (t.Ticks % TimeSpan.TicksPerSecond / 10).ToString("000000", c),
            'p' => t.Hour < 12 ? "AM" : "PM",
            'P' => t.Hour < 12 ? "am" : "pm",
            'a' => t.ToString("ddd", c),
            'A' => t.ToString("dddd", c),
            'b' or 'h' => t.ToString("MMM", c),
            'B' => t.ToString("MMMM", c),
            'j' => t.DayOfYear.ToString("000", c),
            'w' => ((int)t.DayOfWeek).ToString(c),
            'u' => (((int)t.DayOfWeek + 6) % 7 + 1).ToString(c),
            'U' => sundayWeek.ToString("00", c),
            'W' => mondayWeek.ToString("00", c),
            'V' => ISOWeek.GetWeekOfYear(t).ToString("00", c),
            'G' => ISOWeek.GetYear(t).ToString(c),
            'D' or 'x' => t.ToString("MM'/'dd'/'yy", c),
            'F' => t.ToString("yyyy-MM-dd", c),
            'T' or 'X' => t.ToString("HH':'mm':'ss", c),
            'R' => t.ToString("HH':'mm", c),
            'r' => $"{hour:00}:{t.Minute:00}:{t.Second:00} {(t.Hour < 12 ? "AM" : "PM")}",
            'c' => $"{t.ToString("ddd MMM", c)} {t.Day,2} {t.ToString("HH':'mm':'ss yyyy", c)}",
            's' => new DateTimeOffset(t).ToUnixTimeSeconds().ToString(c),
            'z' or 'Z' => "",
            'n' => "\n",
            't' => "\t",
            '%' => "%",
            _ => null,
        };
    }
}
