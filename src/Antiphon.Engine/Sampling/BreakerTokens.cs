using System.Text;

namespace Antiphon.Engine;

/// <summary>Finds the tokens that contain one of DRY's sequence breakers. What was found for the last few lists of breakers is kept.</summary>
internal sealed class BreakerTokens(ITokenText? text, int vocabularySize)
{
    private const int Kept = 16;

    private readonly Lock gate = new();
    private readonly List<(string[] Breakers, HashSet<int> Tokens)> known = [];

    /// <summary>The tokens for these options; none when DRY is off.</summary>
    public HashSet<int> Of(SamplingOptions options)
    {
        if (options.DryMultiplier <= 0 || text is null || options.DrySequenceBreakers.Count == 0)
        {
            return [];
        }

        lock (gate)
        {
            foreach ((string[] breakers, HashSet<int> tokens) in known)
            {
                if (breakers.AsSpan().SequenceEqual(options.DrySequenceBreakers.ToArray()))
                {
                    return tokens;
                }
            }

            if (known.Count == Kept)
            {
                known.RemoveAt(0);
            }

            HashSet<int> found = Find(options.DrySequenceBreakers, text);
            known.Add(([.. options.DrySequenceBreakers], found));
            return found;
        }
    }

    private HashSet<int> Find(IReadOnlyList<string> breakers, ITokenText vocabulary)
    {
        byte[][] needles = [.. breakers.Select(Encoding.UTF8.GetBytes)];
        HashSet<int> found = [];
        for (int token = 0; token < vocabularySize; token++)
        {
            ReadOnlySpan<byte> bytes = vocabulary.TokenBytes(token);
            foreach (byte[] needle in needles)
            {
                if (bytes.IndexOf(needle) >= 0)
                {
                    found.Add(token);
                    break;
                }
            }
        }

        return found;
    }
}
