namespace Antiphon.Kernels.MultiScale;

/// <summary>How split activations are laid out.</summary>
internal enum SplitOrder
{
    /// <summary>For byte products: of every 32 columns the 32 high bytes, then the 32 low bytes.</summary>
    Bytes,

    /// <summary>As <see cref="Bytes"/>, of the integers plus 32768 (one pass: plus 128), which makes both bytes unsigned.</summary>
    Unsigned,

    /// <summary>For products of 16-bit pairs: of every 4 columns first and third, then second and fourth.</summary>
    Pairs,
}

/// <summary>Where the parts of a group of up to 16 tokens lie. Each part has the tokens side by side, so that one offset reaches a token from another.</summary>
/// <remarks>
/// The integers, 64 bytes for each tile and token; minus their sums over 32 columns, and over 16, as 32-bit numbers; the three signed digits to the base of
/// 256 of those sums, for each super-block and token the third digits of all blocks, then the second, then the first; the two factors of the row's scale.
/// </remarks>
internal readonly struct SplitForm
{
    /// <summary>Tokens of a whole group.</summary>
    public const int GroupTokens = IInputForm.GroupRows;

    private readonly int steps;

    /// <summary>The form of a group.</summary>
    /// <param name="columns">Columns of the input.</param>
    /// <param name="tokens">Tokens of the group.</param>
    public SplitForm(int columns, int tokens)
    {
        steps = CodeLayout.Steps(columns);
        Tokens = tokens;
    }

    /// <summary>Tokens of the group.</summary>
    public int Tokens { get; }

    /// <summary>Bytes from a tile's integers to the next tile's.</summary>
    public int StepBytes => 64 * Tokens;

    /// <summary>Where minus the sums over 32 columns begin: 4 bytes a token.</summary>
    public long Sums32At => (long)steps * StepBytes;

    /// <summary>Where minus the sums over 16 columns begin: 8 bytes a token.</summary>
    public long Sums16At => Align(Sums32At + (4L * steps * Tokens));

    /// <summary>Where the digits of sums over 32 columns begin: 32 bytes a token.</summary>
    public long Digits32At => Align(Sums16At + (8L * steps * Tokens));

    /// <summary>Where the digits of sums over 16 columns begin: 64 bytes a token.</summary>
    public long Digits16At => Digits32At + (32L * Supers * Tokens);

    /// <summary>Where the factors begin: 8 bytes a token.</summary>
    public long FactorsAt => Digits16At + (64L * Supers * Tokens);

    /// <summary>Bytes of the group.</summary>
    public long ByteCount => Align(FactorsAt + (8L * Tokens));

    private int Supers => (steps + CodeLayout.SuperTiles - 1) / CodeLayout.SuperTiles;

    private static long Align(long bytes) => (bytes + 63) & ~63L;
}
