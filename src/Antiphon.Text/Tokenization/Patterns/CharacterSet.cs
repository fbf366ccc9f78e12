using System.Globalization;

namespace Antiphon.Text;

/// <summary>A set of code points, as a regular expression's class names it: ranges, categories and shorthands, each or all negated.</summary>
internal sealed class CharacterSet
{
    // Everything below this is looked up in a bitmap: ASCII, Latin, Greek, Cyrillic, Hebrew, Arabic.
    private const int BitmapPoints = 0x800;

    private readonly ulong[] bitmap = new ulong[BitmapPoints / 64];
    private readonly Item[] items;
    private readonly bool negated;

    public CharacterSet(IEnumerable<Item> items, bool negated)
    {
        this.items = [.. items];
        this.negated = negated;
        for (int point = 0; point < BitmapPoints; point++)
        {
            if (Evaluate(point))
            {
                bitmap[point >> 6] |= 1UL << (point & 63);
            }
        }
    }

    public static CharacterSet Of(Item item) => new([item], negated: false);

    /// <summary>The members below U+0040 and from U+0040 to U+007F.</summary>
    public (ulong Low, ulong High) Ascii => (bitmap[0], bitmap[1]);

    public bool Contains(int point) => (uint)point < BitmapPoints ? (bitmap[point >> 6] >> (point & 63) & 1) != 0 : Evaluate(point);

    private bool Evaluate(int point)
    {
        UnicodeCategory category = CharUnicodeInfo.GetUnicodeCategory(point);
        foreach (Item item in items)
        {
            if (item.Contains(point, category))
            {
                return !negated;
            }
        }

        return negated;
    }

    /// <summary>White space as Unicode defines it.</summary>
    public static bool IsSpace(int point) => point <= char.MaxValue && char.IsWhiteSpace((char)point);

    /// <summary>A letter, mark, decimal number or connector, as <c>\w</c> has it.</summary>
    public static bool IsWord(int point) => (Item.WordCategories >> (int)CharUnicodeInfo.GetUnicodeCategory(point) & 1) != 0;

    /// <summary>One part of a class: a range of code points, or a set of general categories, or white space; possibly negated.</summary>
    public readonly record struct Item
    {
        private readonly int first;
        private readonly int last;
        private readonly uint categories;
        private readonly bool space;
        private readonly bool negated;

        private Item(int first, int last, uint categories, bool space, bool negated)
        {
            this.first = first;
            this.last = last;
            this.categories = categories;
            this.space = space;
            this.negated = negated;
        }

        public const uint Letters = 0b11111;
        public const uint Marks = 0b111 << 5;
        public const uint DecimalNumbers = 1 << (int)UnicodeCategory.DecimalDigitNumber;
        public const uint WordCategories = Letters | Marks | DecimalNumbers | (1 << (int)UnicodeCategory.ConnectorPunctuation);

        public static Item Range(int first, int last) => new(first, last, 0, false, false);

        public static Item Categories(uint categories, bool negated = false) => new(1, 0, categories, false, negated);

        public static Item Space(bool negated = false) => new(1, 0, 0, true, negated);

        public bool Contains(int point, UnicodeCategory category) =>
            ((point >= first && point <= last) || (categories >> (int)category & 1) != 0 || (space && IsSpace(point))) != negated;

        /// <summary>Categories by their short names, as in <c>\p{Lu}</c>; false for a name that is no general category.</summary>
        public static bool TryCategories(string name, out uint categories)
        {
            const string Order = "LuLlLtLmLoMnMcMeNdNlNoZsZlZpCcCfCsCoPcPdPsPePiPfPoSmScSkSoCn";
            categories = 0;
            name = name switch { "Letter" => "L", "Number" => "N", "Punctuation" => "P", "Mark" => "M", "Symbol" => "S", _ => name };
            for (int i = 0; i < Order.Length; i += 2)
            {
                if (name.Length is 1 or 2 && Order.AsSpan(i, 2).StartsWith(name, StringComparison.Ordinal))
                {
                    categories |= 1u << (i / 2);
                }
            }

            return categories != 0;
        }
    }
}
