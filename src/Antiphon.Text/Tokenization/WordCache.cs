namespace Antiphon.Text;

/// <summary>
/// The ids of words met lately: a table of fixed size in which a new word takes the place of the one before it. Entries are immutable and
/// replaced whole, so readers on other threads see an old one or a new one, never a mixture.
/// </summary>
internal sealed class WordCache
{
    /// <summary>Longer words are not kept.</summary>
    public const int MaxLength = 48;

    private const int Slots = 1 << 14;

    private readonly Entry?[] entries = new Entry?[Slots];

    public bool TryGet(ReadOnlySpan<char> word, out int slot, out ReadOnlySpan<int> ids)
    {
        // Seeded by the process, so no text can be made to collide.
        slot = string.GetHashCode(word) & (Slots - 1);
        Entry? entry = Volatile.Read(ref entries[slot]);
        bool found = entry is not null && word.SequenceEqual(entry.Word);
        ids = found ? entry!.Ids : default;
        return found;
    }

    public void Put(int slot, ReadOnlySpan<char> word, ReadOnlySpan<int> ids) =>
        Volatile.Write(ref entries[slot], new Entry(word.ToString(), ids.ToArray()));

    private sealed record Entry(string Word, int[] Ids);
}
