namespace Antiphon.Engine;

/// <summary>
/// Random numbers by counter: each is a pure function of (seed, choice, position, draw), so that a draw depends neither on what ran beside it nor on
/// how often a sequence was preempted. The mixing is the finaliser of SplitMix64, once per word.
/// </summary>
internal static class CounterRandom
{
    /// <summary>A number in [0, 1) with 53 random bits.</summary>
    public static double Next(long seed, int choice, int position, int draw)
    {
        ulong state = Mix((ulong)seed + 0x9E3779B97F4A7C15);
        state = Mix(state ^ (((ulong)(uint)choice << 32) | (uint)draw));
        state = Mix(state + ((ulong)(uint)position * 0x9E3779B97F4A7C15));
        return (state >> 11) * (1.0 / (1UL << 53));
    }

    private static ulong Mix(ulong value)
    {
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9;
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB;
        return value ^ (value >> 31);
    }
}
