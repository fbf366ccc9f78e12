using System.Globalization;

namespace Antiphon.Text;

/// <summary>A text, with the origin of its characters. Positions that templates see count code points; inside, they are UTF-16 units.</summary>
internal sealed class StringValue : TemplateValue
{
    public static readonly StringValue Empty = new("", Origin.Template);

    private static readonly StringValue[] Ascii = MakeAscii(isInput: false);
    private static readonly StringValue[] AsciiInput = MakeAscii(isInput: true);

    private int _codePoints = -1;

    public StringValue(string text, Origin origin, bool isMarkup = false)
    {
        Text = text;
        Origin = origin;
        IsMarkup = isMarkup;
    }

    public string Text { get; }

    public Origin Origin { get; }

    /// <summary>Whether the text passed <c>safe</c> or <c>escape</c>: what is joined to it is then escaped for HTML.</summary>
    public bool IsMarkup { get; }

    public static StringValue Of(string text, bool isInput = false) => text.Length == 0 ? Empty : new(text, Origin.Of(isInput));

    /// <summary>A text of one UTF-16 unit or one surrogate pair.</summary>
    public StringValue Character(int start, int length)
    {
        char c = Text[start];
        return length == 1 && c < 128 && !IsMarkup
            ? (Origin.IsInputAt(start) ? AsciiInput : Ascii)[c]
            : Slice(start, length);
    }

    internal override string TypeName => IsMarkup ? "Markup" : "str";

    internal override bool IsTrue => Text.Length > 0;

    internal override long WalkCost => 1 + (Text.Length >> 4);

    /// <summary>The number of code points.</summary>
    public int Length
    {
        get
        {
            if (_codePoints < 0)
            {
                int count = Text.Length;
                ReadOnlySpan<char> text = Text;
                if (text.IndexOfAnyInRange('\ud800', '\udbff') >= 0)
                {
                    for (int i = 0; i + 1 < text.Length; i++)
                    {
                        if (char.IsHighSurrogate(text[i]) && char.IsLowSurrogate(text[i + 1]))
                        {
                            count--;
                            i++;
                        }
                    }
                }

                _codePoints = count;
            }

            return _codePoints;
        }
    }

    /// <summary>Whether every code point is one UTF-16 unit, so that both kinds of position agree.</summary>
    public bool IsFlat => Length == Text.Length;

    /// <summary>The UTF-16 position of a code point's position in 0 to <see cref="Length"/>.</summary>
    public int UnitPosition(int codePoint)
    {
        if (IsFlat)
        {
            return codePoint;
        }

        int i = 0;
        for (; codePoint > 0; codePoint--)
        {
            i += UnitsAt(i);
        }

        return i;
    }

    /// <summary>The code point's position of a UTF-16 position.</summary>
    public int CodePointPosition(int unit)
    {
        if (IsFlat)
        {
            return unit;
        }

        int count = 0;
        for (int i = 0; i < unit; i += UnitsAt(i))
        {
            count++;
        }

        return count;
    }

    /// <summary>How many UTF-16 units the code point at a UTF-16 position has.</summary>
    public int UnitsAt(int unit) =>
        char.IsHighSurrogate(Text[unit]) && unit + 1 < Text.Length && char.IsLowSurrogate(Text[unit + 1]) ? 2 : 1;

    /// <summary>A part, positions in UTF-16 units.</summary>
    public StringValue Slice(int start, int length) =>
        length == Text.Length ? this
        : length == 0 && !IsMarkup ? Empty
        : new(Text.Substring(start, length), Origin.Slice(start, length), IsMarkup);

    public StringValue AsMarkup() => IsMarkup ? this : new(Text, Origin, isMarkup: true);

    public StringValue AsPlain() => IsMarkup ? new(Text, Origin) : this;

    /// <summary>A text computed from this one in a way that does not keep track of characters: input if anything here was.</summary>
    public StringValue Derive(string text) =>
        text == Text ? this
        : new(text, text.Length == Text.Length && Origin.IsUniform ? Origin : Origin.Of(Origin.HasInput), IsMarkup);

    public override string ToString() => Text;

    private static StringValue[] MakeAscii(bool isInput)
    {
        var all = new StringValue[128];
        for (int c = 0; c < all.Length; c++)
        {
            all[c] = new(((char)c).ToString(CultureInfo.InvariantCulture), Origin.Of(isInput));
        }

        return all;
    }
}
