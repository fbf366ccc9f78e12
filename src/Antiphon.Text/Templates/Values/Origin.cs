namespace Antiphon.Text;

/// <summary>
/// Which parts of a text are input: the origin of its first character, and the positions where the origin changes.
/// </summary>
internal readonly struct Origin
{
    private readonly bool _startsAsInput;
    private readonly int[]? _flips;

    private Origin(bool startsAsInput, int[]? flips)
    {
        _startsAsInput = startsAsInput;
        _flips = flips is { Length: > 0 } ? flips : null;
    }

    public static Origin Template => default;

    public static Origin Input => new(true, null);

    public static Origin Of(bool isInput) => new(isInput, null);

    /// <param name="startsAsInput">The origin of the first character.</param>
    /// <param name="flips">Where the origin changes: ascending, greater than 0, less than the text's length.</param>
    public static Origin Of(bool startsAsInput, List<int> flips) => new(startsAsInput, flips.Count == 0 ? null : [.. flips]);

    public bool IsUniform => _flips is null;

    public bool StartsAsInput => _startsAsInput;

    public bool HasInput => _startsAsInput || _flips is not null;

    public ReadOnlySpan<int> Flips => _flips;

    public bool IsInputAt(int position)
    {
        if (_flips is null)
        {
            return _startsAsInput;
        }

        int index = Array.BinarySearch(_flips, position);
        int flipsBefore = index >= 0 ? index + 1 : ~index;
        return _startsAsInput ^ ((flipsBefore & 1) != 0);
    }

    public Origin Slice(int start, int length)
    {
        if (_flips is null)
        {
            return this;
        }

        int first = Array.BinarySearch(_flips, start);
        first = first >= 0 ? first + 1 : ~first;
        int last = first;
        while (last < _flips.Length && _flips[last] < start + length)
        {
            last++;
        }

        bool starts = _startsAsInput ^ ((first & 1) != 0);
        if (first == last)
        {
            return new(starts, null);
        }

        var flips = new int[last - first];
        for (int i = 0; i < flips.Length; i++)
        {
            flips[i] = _flips[first + i] - start;
        }

        return new(starts, flips);
    }
}
