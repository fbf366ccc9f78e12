namespace Antiphon.Text;

/// <summary>A dictionary that keeps the order in which its keys came. It is filled while it is made and never changes afterwards.</summary>
internal sealed class DictValue : TemplateValue
{
    private const int ScanUpTo = 8;

    private readonly List<KeyValuePair<TemplateValue, TemplateValue>> _entries = [];
    private Dictionary<TemplateValue, int>? _index;
    private int _nesting;
    private long _walkCost = 1;

    public IReadOnlyList<KeyValuePair<TemplateValue, TemplateValue>> Entries => _entries;

    public int Count => _entries.Count;

    internal override string TypeName => "dict";

    internal override bool IsTrue => _entries.Count > 0;

    internal override int Nesting => SequenceValue.Deeper(_nesting);

    internal override long WalkCost => _walkCost;

    public TemplateValue? Get(TemplateValue key)
    {
        int at = Find(key);
        return at < 0 ? null : _entries[at].Value;
    }

    public TemplateValue? Get(string key)
    {
        if (_index is null)
        {
            foreach (KeyValuePair<TemplateValue, TemplateValue> entry in _entries)
            {
                if (entry.Key is StringValue s && s.Text == key)
                {
                    return entry.Value;
                }
            }

            return null;
        }

        return Get(StringValue.Of(key));
    }

    /// <summary>Adds an entry or replaces the value of an equal key, which keeps its place. Only while the dictionary is being made.</summary>
    public void Set(TemplateValue key, TemplateValue value)
    {
        _nesting = Math.Max(_nesting, Math.Max(key.Nesting, value.Nesting));
        _ = SequenceValue.Deeper(_nesting);
        _walkCost = SequenceValue.Add(_walkCost, SequenceValue.Add(key.WalkCost, value.WalkCost));
        int at = Find(key);
        if (at >= 0)
        {
            _entries[at] = new(_entries[at].Key, value);
            return;
        }

        _entries.Add(new(key, value));
        if (_index is not null)
        {
            _index.Add(key, _entries.Count - 1);
        }
        else if (_entries.Count > ScanUpTo)
        {
            _index = new(ValueComparer.Instance);
            for (int i = 0; i < _entries.Count; i++)
            {
                _index.Add(_entries[i].Key, i);
            }
        }
    }

    private int Find(TemplateValue key)
    {
        if (_index is not null)
        {
            return _index.TryGetValue(key, out int found) ? found : -1;
        }

        _ = ValueComparer.Instance.GetHashCode(key);
        for (int i = 0; i < _entries.Count; i++)
        {
            if (ValueComparer.AreEqual(_entries[i].Key, key))
            {
                return i;
            }
        }

        return -1;
    }
}

/// <summary>Which part of a dictionary a view shows.</summary>
internal enum DictPart
{
    Keys,
    Values,
    Items,
}

/// <summary>What <c>keys()</c>, <c>values()</c> and <c>items()</c> yield.</summary>
internal sealed class DictViewValue(DictValue dict, DictPart part) : TemplateValue
{
    private TemplateValue[]? _items;

    public IReadOnlyList<TemplateValue> Items => _items ??= part switch
    {
        DictPart.Keys => [.. dict.Entries.Select(entry => entry.Key)],
        DictPart.Values => [.. dict.Entries.Select(entry => entry.Value)],
        _ => [.. dict.Entries.Select(entry => new TupleValue([entry.Key, entry.Value]))],
    };

    internal override string TypeName => part switch
    {
        DictPart.Keys => "dict_keys",
        DictPart.Values => "dict_values",
        _ => "dict_items",
    };

    internal override bool IsTrue => dict.Count > 0;

    internal override int Nesting => SequenceValue.Deeper(dict.Nesting);

    internal override long WalkCost => SequenceValue.Add(dict.WalkCost, dict.Count);
}
