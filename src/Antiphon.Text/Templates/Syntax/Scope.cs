namespace Antiphon.Text;

/// <summary>The names that a part of a template assigns: each has a slot in the part's <see cref="Frame"/>.</summary>
internal sealed class Scope(Scope? parent, bool isMacro = false)
{
    private readonly Dictionary<string, int> _slots = [];

    public Scope? Parent => parent;

    public bool IsMacro => isMacro;

    public int Count => _slots.Count;

    public int Declare(string name)
    {
        if (!_slots.TryGetValue(name, out int slot))
        {
            _slots.Add(name, slot = _slots.Count);
        }

        return slot;
    }

    public int Find(string name) => _slots.TryGetValue(name, out int slot) ? slot : -1;

    public Frame NewFrame(Frame? outer) => new(Count, outer);
}

/// <summary>The values of a scope's names while it runs; null where a name is not assigned yet, so that an outer one shows through.</summary>
internal sealed class Frame(int count, Frame? parent)
{
    public TemplateValue?[] Slots { get; } = count == 0 ? [] : new TemplateValue?[count];

    public Frame? Parent => parent;
}
