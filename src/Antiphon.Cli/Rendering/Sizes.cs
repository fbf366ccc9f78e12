using System.Globalization;

namespace Antiphon.Cli;

/// <summary>Sizes for people.</summary>
internal static class Sizes
{
    /// <summary>Bytes in binary units, three digits: 3.79 MiB.</summary>
    public static string Bytes(long bytes)
    {
        string[] units = ["B", "KiB", "MiB", "GiB", "TiB"];
        double value = bytes;
        int unit = 0;
        while (value >= 1000 && unit < units.Length - 1)
        {
            value /= 1024;
            unit++;
        }

        string format = unit == 0 || value >= 100 ? "0" : value >= 10 ? "0.0" : "0.00";
        return $"{value.ToString(format, CultureInfo.InvariantCulture)} {units[unit]}";
    }

    /// <summary>A count in thousands, millions, billions: 3.7 M.</summary>
    public static string Count(long count) => count switch
    {
        >= 1_000_000_000 => string.Create(CultureInfo.InvariantCulture, $"{count / 1e9:0.00} B"),
        >= 1_000_000 => string.Create(CultureInfo.InvariantCulture, $"{count / 1e6:0.0} M"),
        >= 10_000 => string.Create(CultureInfo.InvariantCulture, $"{count / 1e3:0.0} K"),
        _ => count.ToString(CultureInfo.InvariantCulture),
    };
}
