namespace Antiphon.Engine;

/// <summary>
/// DRY: a token that would prolong a run which already stands earlier in the text gets a penalty that grows exponentially with the run's length.
/// All runs are found at once, in linear time, by the Z-function of the text read backwards.
/// </summary>
internal sealed class Dry
{
    private int[] matches = [];
    private readonly Dictionary<int, int> longest = [];

    /// <summary>Lowers the logits of tokens that would repeat.</summary>
    /// <param name="row">The logits.</param>
    /// <param name="tokens">Prompt and answer.</param>
    /// <param name="options">Strength and limits.</param>
    /// <param name="breakers">Tokens across which no run reaches.</param>
    public void Apply(LogitRow row, ReadOnlySpan<int> tokens, SamplingOptions options, HashSet<int> breakers)
    {
        if (options.DryWindow > 0 && options.DryWindow < tokens.Length)
        {
            tokens = tokens[^options.DryWindow..];
        }

        int limit = 0;
        while (limit < tokens.Length && !breakers.Contains(tokens[^(limit + 1)]))
        {
            limit++;
        }

        if (limit < options.DryAllowedLength)
        {
            return;
        }

        if (matches.Length < tokens.Length)
        {
            matches = new int[(int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)tokens.Length)];
        }

        // matches[i]: how many tokens that end i before the end equal the last ones.
        longest.Clear();
        int from = 0;
        int to = 0;
        for (int i = 1; i < tokens.Length; i++)
        {
            int length = i < to ? Math.Min(matches[i - from], to - i) : 0;
            while (i + length < tokens.Length && tokens[^(length + 1)] == tokens[^(i + length + 1)])
            {
                length++;
            }

            matches[i] = length;
            if (i + length > to)
            {
                (from, to) = (i, i + length);
            }

            length = Math.Min(length, limit);
            if (length >= options.DryAllowedLength)
            {
                ref int best = ref System.Runtime.InteropServices.CollectionsMarshal.GetValueRefOrAddDefault(longest, tokens[^i], out _);
                best = Math.Max(best, length);
            }
        }

        foreach ((int token, int length) in longest)
        {
            double penalty = options.DryMultiplier * Math.Pow(options.DryBase, length - options.DryAllowedLength);
            row[token] -= (float)Math.Min(penalty, 1e30);
        }
    }
}
