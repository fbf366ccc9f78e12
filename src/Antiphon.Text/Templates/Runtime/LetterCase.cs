using System.Collections.Frozen;
using System.Globalization;
using System.Text;

namespace Antiphon.Text;

/// <summary>Upper, lower and title case as Python has them: by Unicode's full mappings, where one character may become several.</summary>
internal static class LetterCase
{
    /// <summary>PythonCharacters whose upper case is more than one: the character, then what it becomes.</summary>
    private const string LongUpper =
        "\u00df\u0053\u0053 \u0149\u02bc\u004e \u01f0\u004a\u030c \u0390\u0399\u0308\u0301 \u03b0\u03a5\u0308\u0301 \u0587\u0535\u0552 " +
        "\u1e96\u0048\u0331 \u1e97\u0054\u0308 \u1e98\u0057\u030a \u1e99\u0059\u030a \u1e9a\u0041\u02be \u1f50\u03a5\u0313 " +
        "\u1f52\u03a5\u0313\u0300 \u1f54\u03a5\u0313\u0301 \u1f56\u03a5\u0313\u0342 \u1f80\u1f08\u0399 \u1f81\u1f09\u0399 " +
        "\u1f82\u1f0a\u0399 \u1f83\u1f0b\u0399 \u1f84\u1f0c\u0399 \u1f85\u1f0d\u0399 \u1f86\u1f0e\u0399 \u1f87\u1f0f\u0399 " +
        "\u1f88\u1f08\u0399 \u1f89\u1f09\u0399 \u1f8a\u1f0a\u0399 \u1f8b\u1f0b\u0399 \u1f8c\u1f0c\u0399 \u1f8d\u1f0d\u0399 " +
        "\u1f8e\u1f0e\u0399 \u1f8f\u1f0f\u0399 \u1f90\u1f28\u0399 \u1f91\u1f29\u0399 \u1f92\u1f2a\u0399 \u1f93\u1f2b\u0399 " +
        "\u1f94\u1f2c\u0399 \u1f95\u1f2d\u0399 \u1f96\u1f2e\u0399 \u1f97\u1f2f\u0399 \u1f98\u1f28\u0399 \u1f99\u1f29\u0399 " +
        "\u1f9a\u1f2a\u0399 \u1f9b\u1f2b\u0399 \u1f9c\u1f2c\u0399 \u1f9d\u1f2d\u0399 \u1f9e\u1f2e\u0399 \u1f9f\u1f2f\u0399 " +
        "\u1fa0\u1f68\u0399 \u1fa1\u1f69\u0399 \u1fa2\u1f6a\u0399 \u1fa3\u1f6b\u0399 \u1fa4\u1f6c\u0399 \u1fa5\u1f6d\u0399 " +
        "\u1fa6\u1f6e\u0399 \u1fa7\u1f6f\u0399 \u1fa8\u1f68\u0399 \u1fa9\u1f69\u0399 \u1faa\u1f6a\u0399 \u1fab\u1f6b\u0399 " +
        "\u1fac\u1f6c\u0399 \u1fad\u1f6d\u0399 \u1fae\u1f6e\u0399 \u1faf\u1f6f\u0399 \u1fb2\u1fba\u0399 \u1fb3\u0391\u0399 " +
        "\u1fb4\u0386\u0399 \u1fb6\u0391\u0342 \u1fb7\u0391\u0342\u0399 \u1fbc\u0391\u0399 \u1fc2\u1fca\u0399 \u1fc3\u0397\u0399 " +
        "\u1fc4\u0389\u0399 \u1fc6\u0397\u0342 \u1fc7\u0397\u0342\u0399 \u1fcc\u0397\u0399 \u1fd2\u0399\u0308\u0300 " +
        "\u1fd3\u0399\u0308\u0301 \u1fd6\u0399\u0342 \u1fd7\u0399\u0308\u0342 \u1fe2\u03a5\u0308\u0300 \u1fe3\u03a5\u0308\u0301 " +
        "\u1fe4\u03a1\u0313 \u1fe6\u03a5\u0342 \u1fe7\u03a5\u0308\u0342 \u1ff2\u1ffa\u0399 \u1ff3\u03a9\u0399 \u1ff4\u038f\u0399 " +
        "\u1ff6\u03a9\u0342 \u1ff7\u03a9\u0342\u0399 \u1ffc\u03a9\u0399 \ufb00\u0046\u0046 \ufb01\u0046\u0049 \ufb02\u0046\u004c " +
        "\ufb03\u0046\u0046\u0049 \ufb04\u0046\u0046\u004c \ufb05\u0053\u0054 \ufb06\u0053\u0054 \ufb13\u0544\u0546 \ufb14\u0544\u0535 " +
        "\ufb15\u0544\u053b \ufb16\u054e\u0546 \ufb17\u0544\u053d";

    private static readonly FrozenDictionary<char, string> LongUpperOf = LongUpper.Split(' ').ToFrozenDictionary(entry => entry[0], entry => entry[1..]);

    public static string Upper(string text)
    {
        if (Ascii.IsValid(text))
        {
            return text.ToUpperInvariant();
        }

        var upper = new StringBuilder(text.Length);
        foreach (Rune rune in text.EnumerateRunes())
        {
            AppendUpper(upper, rune);
        }

        return upper.ToString();
    }

    public static string Lower(string text)
    {
        if (Ascii.IsValid(text))
        {
            return text.ToLowerInvariant();
        }

        var lower = new StringBuilder(text.Length);
        for (int i = 0; i < text.Length;)
        {
            Rune rune = RuneAt(text, i);
            switch (rune.Value)
            {
                case 0x130:
                    lower.Append("i\u0307");
                    break;
                case 0x3a3:
                    lower.Append(IsFinalSigma(text, i) ? '\u03c2' : '\u03c3');
                    break;
                default:
                    lower.Append(Rune.ToLowerInvariant(rune));
                    break;
            }

            i += rune.Utf16SequenceLength;
        }

        return lower.ToString();
    }

    /// <summary>The first character in title case, the others in lower case.</summary>
    public static string Capitalize(string text)
    {
        if (text.Length == 0)
        {
            return text;
        }

        Rune first = RuneAt(text, 0);
        var result = new StringBuilder(text.Length);
        AppendTitle(result, first);
        return result.Append(Lower(text)[Lower(first.ToString()).Length..]).ToString();
    }

    /// <summary>Every word in title case; a word is a run of cased characters.</summary>
    public static string Title(string text)
    {
        var title = new StringBuilder(text.Length);
        bool inWord = false;
        foreach (Rune rune in text.EnumerateRunes())
        {
            if (inWord)
            {
                title.Append(Lower(rune.ToString()));
            }
            else
            {
                AppendTitle(title, rune);
            }

            inWord = IsCased(rune);
        }

        return title.ToString();
    }

    public static string Swap(string text)
    {
        var swapped = new StringBuilder(text.Length);
        foreach (Rune rune in text.EnumerateRunes())
        {
            if (Rune.IsUpper(rune))
            {
                swapped.Append(Lower(rune.ToString()));
            }
            else if (Rune.IsLower(rune))
            {
                AppendUpper(swapped, rune);
            }
            else
            {
                swapped.Append(rune);
            }
        }

        return swapped.ToString();
    }

    /// <summary>For comparing without regard to case.</summary>
    public static string Fold(string text) => Ascii.IsValid(text)
        ? text.ToLowerInvariant()
        : Lower(Upper(text)).Replace('\u03c2', '\u03c3');

    public static bool IsCased(Rune rune) => Rune.GetUnicodeCategory(rune) is
        UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter;

    private static void AppendUpper(StringBuilder upper, Rune rune)
    {
        if (rune.IsBmp && LongUpperOf.TryGetValue((char)rune.Value, out string? several))
        {
            upper.Append(several);
        }
        else
        {
            upper.Append(Rune.ToUpperInvariant(rune));
        }
    }

    private static void AppendTitle(StringBuilder title, Rune rune)
    {
        int code = rune.Value;
        switch (code)
        {
            case >= 0x1c4 and <= 0x1cc:
                title.Append((char)(0x1c5 + ((code - 0x1c4) / 3 * 3)));
                break;
            case >= 0x1f1 and <= 0x1f3:
                title.Append('\u01f2');
                break;
            case >= 0x10d0 and <= 0x10ff:
                title.Append(rune);
                break;
            case < 0x1f80 or (> 0x1ffc and < 0x10000) when LongUpperOf.TryGetValue((char)code, out string? several):
                title.Append(several[0]).Append(Lower(several[1..]));
                break;
            default:
                title.Append(Rune.ToUpperInvariant(rune));
                break;
        }
    }

    /// <summary>A sigma at the end of a word: a letter before it, none after it.</summary>
    private static bool IsFinalSigma(string text, int at)
    {
        bool Letter(int position) => position >= 0 && position < text.Length && IsCased(RuneAt(text, position));
        return Letter(at - 1) && !Letter(at + 1);
    }

    private static Rune RuneAt(string text, int at) => Rune.TryGetRuneAt(text, at, out Rune rune) ? rune : Rune.ReplacementChar;
}
