using System.Globalization;
using System.Numerics;

namespace Antiphon.Text;

/// <summary>Numbers as Python writes, rounds and parses them.</summary>
internal static class Numbers
{
    /// <summary>The largest integer, in bits, that arithmetic may make.</summary>
    public const long MaxBits = 1 << 20;

    /// <summary>The largest integer, in bits, that a power may make: no prompt needs more, and powers of powers grow without sense.</summary>
    public const long MaxPowerBits = 256;

    /// <exception cref="TemplateException">More than 4,300 digits.</exception>
    public static string Text(BigInteger value)
    {
        // 4,300 digits are about 14,285 bits; beyond that the conversion is refused, as in Python, because it is quadratic.
        if (value.GetByteCount() > 1800)
        {
            throw TooLong();
        }

        string text = value.ToString(CultureInfo.InvariantCulture);
        return text.Length <= JsonReading.MaxIntegerDigits + 1 ? text : throw TooLong();
    }

    /// <summary>Python's <c>repr</c> of a float: the shortest digits that read back the same.</summary>
    public static string Text(double value)
    {
        if (double.IsNaN(value))
        {
            return "nan";
        }

        if (double.IsInfinity(value))
        {
            return value > 0 ? "inf" : "-inf";
        }

        if (value == 0)
        {
            return double.IsNegative(value) ? "-0.0" : "0.0";
        }

        // The round-trip digits, taken apart and laid out again.
        string shortest = value.ToString("R", CultureInfo.InvariantCulture);
        string sign = value < 0 ? "-" : "";
        int exponentAt = shortest.IndexOf('E', StringComparison.Ordinal);
        string mantissa = (exponentAt < 0 ? shortest : shortest[..exponentAt]).TrimStart('-');
        int exponent = exponentAt < 0 ? 0 : int.Parse(shortest[(exponentAt + 1)..], CultureInfo.InvariantCulture);
        int point = mantissa.IndexOf('.', StringComparison.Ordinal);
        string digits = point < 0 ? mantissa : mantissa.Remove(point, 1);
        exponent += (point < 0 ? mantissa.Length : point) - 1;
        string significant = digits.TrimStart('0');
        exponent -= digits.Length - significant.Length;
        significant = significant.TrimEnd('0');
        if (exponent is < -4 or >= 16)
        {
            string fraction = significant.Length > 1 ? "." + significant[1..] : "";
            return $"{sign}{significant[0]}{fraction}e{(exponent < 0 ? '-' : '+')}{Math.Abs(exponent):00}";
        }

        if (exponent < 0)
        {
            return $"{sign}0.{new string('0', -exponent - 1)}{significant}";
        }

        return significant.Length > exponent + 1
            ? $"{sign}{significant[..(exponent + 1)]}.{significant[(exponent + 1)..]}"
            : $"{sign}{significant.PadRight(exponent + 1, '0')}.0";
    }

    /// <summary>A finite float with a number of digits after the point, rounded half to even on its exact value.</summary>
    public static string Fixed(double value, int digits)
    {
        BigInteger scaled = Scale(Math.Abs(value), digits);
        string text = scaled.ToString(CultureInfo.InvariantCulture);
        if (digits > 0)
        {
            text = text.PadLeft(digits + 1, '0');
            text = text[..^digits] + "." + text[^digits..];
        }

        return double.IsNegative(value) ? "-" + text : text;
    }

    /// <summary>Python's <c>%e</c>.</summary>
    public static string Exponential(double value, int digits)
    {
        string sign = double.IsNegative(value) ? "-" : "";
        double size = Math.Abs(value);
        int exponent = size == 0 ? 0 : (int)Math.Floor(Math.Log10(size));
        BigInteger scaled = size == 0 ? BigInteger.Zero : Scale(size, digits - exponent);

        // The logarithm may be off by one, and rounding may carry into a new digit.
        BigInteger limit = BigInteger.Pow(10, digits + 1);
        if (scaled >= limit)
        {
            exponent++;
            scaled = Scale(size, digits - exponent);
        }
        else if (size != 0 && scaled < limit / 10)
        {
            exponent--;
            scaled = Scale(size, digits - exponent);
        }

        string text = scaled.ToString(CultureInfo.InvariantCulture).PadLeft(digits + 1, '0');
        string fraction = digits > 0 ? "." + text[1..] : "";
        return $"{sign}{text[0]}{fraction}e{(exponent < 0 ? '-' : '+')}{Math.Abs(exponent):00}";
    }

    /// <summary>Python's <c>%g</c>.</summary>
    public static string General(double value, int digits)
    {
        digits = Math.Max(digits, 1);
        string scientific = Exponential(value, digits - 1);
        int at = scientific.IndexOf('e', StringComparison.Ordinal);
        int exponent = int.Parse(scientific[(at + 1)..], CultureInfo.InvariantCulture);
        if (exponent < -4 || exponent >= digits)
        {
            return TrimZeros(scientific[..at]) + scientific[at..];
        }

        return TrimZeros(Fixed(value, digits - 1 - exponent));

        static string TrimZeros(string text) => text.Contains('.', StringComparison.Ordinal) ? text.TrimEnd('0').TrimEnd('.') : text;
    }

    /// <summary>Python's <c>round(value, digits)</c>.</summary>
    public static double Round(double value, int digits)
    {
        if (!double.IsFinite(value) || digits > 330)
        {
            return value;
        }

        if (digits < -310)
        {
            return 0;
        }

        if (digits >= 0)
        {
            return double.Parse(Fixed(value, digits), CultureInfo.InvariantCulture);
        }

        double size = double.Parse(Scale(Math.Abs(value), digits) + "e" + -digits, CultureInfo.InvariantCulture);
        return double.IsNegative(value) ? -size : size;
    }

    public static BigInteger RoundInteger(BigInteger value, int digits)
    {
        if (digits >= 0)
        {
            return value;
        }

        if (digits < -5000)
        {
            return BigInteger.Zero;
        }

        BigInteger unit = BigInteger.Pow(10, -digits);
        return HalfEven(BigInteger.Abs(value), unit) * unit * value.Sign;
    }

    /// <summary>An integer as Python's <c>int(text, base)</c> reads it; null when it is none.</summary>
    public static BigInteger? ParseInteger(string text, int numberBase)
    {
        ReadOnlySpan<char> rest = PythonCharacters.Trim(text);
        bool negative = rest.StartsWith("-");
        if (negative || rest.StartsWith("+"))
        {
            rest = rest[1..];
        }

        int prefix = rest.Length > 1 && rest[0] == '0'
            ? char.ToLowerInvariant(rest[1]) switch { 'x' => 16, 'o' => 8, 'b' => 2, _ => 0 }
            : 0;
        if (prefix != 0 && (numberBase == prefix || numberBase == 0))
        {
            numberBase = prefix;
            rest = rest[2..];
            if (rest.StartsWith("_"))
            {
                rest = rest[1..];
            }
        }
        else if (numberBase == 0)
        {
            numberBase = 10;
        }

        if (rest.Length == 0 || rest.Length > JsonReading.MaxIntegerDigits || rest[0] == '_' || rest[^1] == '_' || rest.IndexOf("__") >= 0)
        {
            return null;
        }

        BigInteger value = BigInteger.Zero;
        foreach (char c in rest)
        {
            if (c == '_')
            {
                continue;
            }

            int digit = c < 128 && char.IsAsciiLetter(c) ? (c | 0x20) - 'a' + 10
                : char.GetUnicodeCategory(c) == UnicodeCategory.DecimalDigitNumber ? (int)char.GetNumericValue(c)
                : 99;
            if (digit >= numberBase)
            {
                return null;
            }

            value = (value * numberBase) + digit;
        }

        return negative ? -value : value;
    }

    /// <summary>A float as Python's <c>float(text)</c> reads it; null when it is none.</summary>
    public static double? ParseFloat(string text)
    {
        string trimmed = PythonCharacters.Trim(text).ToString();
        switch (trimmed.TrimStart('+', '-').ToUpperInvariant())
        {
            case "INF" or "INFINITY":
                return trimmed.StartsWith('-') ? double.NegativeInfinity : double.PositiveInfinity;
            case "NAN":
                return double.NaN;
        }

        if (trimmed.Contains('_', StringComparison.Ordinal))
        {
            for (int i = 0; i < trimmed.Length; i++)
            {
                if (trimmed[i] == '_' && (i == 0 || i + 1 == trimmed.Length || !char.IsAsciiDigit(trimmed[i - 1]) || !char.IsAsciiDigit(trimmed[i + 1])))
                {
                    return null;
                }
            }

            trimmed = trimmed.Replace("_", "", StringComparison.Ordinal);
        }

        const NumberStyles Styles = NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent;
        return trimmed.Length > 0 && char.IsAscii(trimmed[^1]) && double.TryParse(trimmed, Styles, CultureInfo.InvariantCulture, out double value)
            ? value
            : null;
    }

    public static double ToDouble(BigInteger value)
    {
        double result = (double)value;
        return double.IsInfinity(result)
            ? throw new TemplateException(TemplateErrorKind.Value, "the integer is too large to convert to float")
            : result;
    }

    /// <summary>|value| × 10^digits, rounded half to even.</summary>
    private static BigInteger Scale(double size, int digits)
    {
        long bits = BitConverter.DoubleToInt64Bits(size);
        int exponent = (int)((bits >> 52) & 0x7ff);
        BigInteger mantissa = bits & 0xfffffffffffffL;
        if (exponent == 0)
        {
            exponent = 1;
        }
        else
        {
            mantissa += 1L << 52;
        }

        exponent -= 1075;
        BigInteger numerator = digits >= 0 ? mantissa * BigInteger.Pow(10, digits) : mantissa;
        BigInteger denominator = digits < 0 ? BigInteger.Pow(10, -digits) : BigInteger.One;
        if (exponent >= 0)
        {
            numerator <<= exponent;
        }
        else
        {
            denominator <<= -exponent;
        }

        return HalfEven(numerator, denominator);
    }

    private static BigInteger HalfEven(BigInteger numerator, BigInteger denominator)
    {
        BigInteger quotient = BigInteger.DivRem(numerator, denominator, out BigInteger rest);
        int order = (rest * 2).CompareTo(denominator);
        return order > 0 || (order == 0 && !quotient.IsEven) ? quotient + 1 : quotient;
    }

    private static TemplateException TooLong() =>
        new(TemplateErrorKind.Value, $"the integer has more than {JsonReading.MaxIntegerDigits} digits and cannot be written");
}
