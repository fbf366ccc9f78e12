namespace Antiphon.Text;

/// <summary>A regular expression as a tree.</summary>
internal abstract record PatternNode
{
    /// <summary>Whether it can match nothing at all.</summary>
    public abstract bool CanBeEmpty { get; }

    /// <summary>The ASCII characters that it may begin with, more rather than fewer; not meaningful for what can be empty.</summary>
    public abstract (ulong Low, ulong High) First { get; }

    public sealed record Set(CharacterSet Members) : PatternNode
    {
        public override bool CanBeEmpty => false;

        public override (ulong Low, ulong High) First => Members.Ascii;
    }

    public sealed record Sequence(IReadOnlyList<PatternNode> Parts) : PatternNode
    {
        public override bool CanBeEmpty => Parts.All(p => p.CanBeEmpty);

        public override (ulong Low, ulong High) First
        {
            get
            {
                (ulong low, ulong high) = (0, 0);
                foreach (PatternNode part in Parts)
                {
                    (low, high) = (low | part.First.Low, high | part.First.High);
                    if (!part.CanBeEmpty)
                    {
                        break;
                    }
                }

                return (low, high);
            }
        }
    }

    public sealed record Alternatives(IReadOnlyList<PatternNode> Options) : PatternNode
    {
        public override bool CanBeEmpty => Options.Any(o => o.CanBeEmpty);

        public override (ulong Low, ulong High) First => Options.Aggregate((0UL, 0UL), (sum, o) => (sum.Item1 | o.First.Low, sum.Item2 | o.First.High));
    }

    public sealed record Repeat(PatternNode Part, int Minimum, int Maximum, bool Lazy, bool Possessive) : PatternNode
    {
        public override bool CanBeEmpty => Minimum == 0 || Part.CanBeEmpty;

        public override (ulong Low, ulong High) First => Part.First;
    }

    /// <summary>A look ahead, or behind at one character.</summary>
    public sealed record Look(PatternNode Part, bool Negative, bool Behind) : PatternNode
    {
        public override bool CanBeEmpty => true;

        public override (ulong Low, ulong High) First => (0, 0);
    }

    /// <summary>A place: <c>^</c>, <c>$</c>, <c>A</c>, <c>z</c>, <c>b</c> or <c>B</c>.</summary>
    public sealed record Anchor(char Kind) : PatternNode
    {
        public override bool CanBeEmpty => true;

        public override (ulong Low, ulong High) First => (0, 0);
    }
}
