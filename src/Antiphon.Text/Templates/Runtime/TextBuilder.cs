using System.Text;

namespace Antiphon.Text;

/// <summary>Puts a text together and keeps track of which characters are input.</summary>
internal sealed class TextBuilder(Run run)
{
    private readonly StringBuilder _text = new();
    private readonly List<int> _flips = [];
    private bool _starts;
    private bool _current;

    public int Length => _text.Length;

    public void Append(ReadOnlySpan<char> text, bool isInput)
    {
        if (text.Length == 0)
        {
            return;
        }

        run.PayText(text.Length);
        if (_text.Length + (long)text.Length > run.MaxOutputLength)
        {
            throw Run.Limit($"the text is longer than {run.MaxOutputLength} characters");
        }

        Mark(isInput);
        _text.Append(text);
    }

    /// <summary>Appends what the template itself brings.</summary>
    public void Append(ReadOnlySpan<char> text) => Append(text, isInput: false);

    public void Append(StringValue text) => Append(text, 0, text.Text.Length);

    public void Append(StringValue text, int start, int length)
    {
        if (text.Origin.IsUniform)
        {
            Append(text.Text.AsSpan(start, length), text.Origin.StartsAsInput);
            return;
        }

        Origin origin = text.Origin.Slice(start, length);
        bool isInput = origin.StartsAsInput;
        int from = 0;
        foreach (int flip in origin.Flips)
        {
            Append(text.Text.AsSpan(start + from, flip - from), isInput);
            from = flip;
            isInput = !isInput;
        }

        Append(text.Text.AsSpan(start + from, length - from), isInput);
    }

    public void AppendRepeated(char c, long count, bool isInput = false)
    {
        if (count <= 0)
        {
            return;
        }

        if (_text.Length + count > run.MaxOutputLength)
        {
            throw Run.Limit($"the text is longer than {run.MaxOutputLength} characters");
        }

        run.PayText(count);
        Mark(isInput);
        _text.Append(c, (int)count);
    }

    public StringValue ToValue(bool isMarkup = false) =>
        _text.Length == 0 && !isMarkup ? StringValue.Empty : new(_text.ToString(), Origin.Of(_starts, _flips), isMarkup);

    private void Mark(bool isInput)
    {
        if (_text.Length == 0)
        {
            _starts = isInput;
        }
        else if (isInput != _current)
        {
            _flips.Add(_text.Length);
        }

        _current = isInput;
    }
}
