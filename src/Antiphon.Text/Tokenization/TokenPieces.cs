using System.Text;

namespace Antiphon.Text;

/// <summary>A step that turns a token into the text that it contributes; <c>first</c> tells whether it begins the text.</summary>
internal abstract class PieceStep
{
    public abstract string Apply(string token, bool first);

    public sealed class Replace(Normalizer replace) : PieceStep
    {
        public override string Apply(string token, bool first) => replace.Apply(token);
    }

    public sealed class Strip(char content, int start, int stop) : PieceStep
    {
        public override string Apply(string token, bool first)
        {
            int from = 0;
            int to = token.Length;
            while (from < start && from < to && token[from] == content)
            {
                from++;
            }

            while (token.Length - to < stop && to > from && token[to - 1] == content)
            {
                to--;
            }

            return token[from..to];
        }
    }

    /// <summary>Visible spaces become spaces; at the start of the text they are dropped unless none is ever put there.</summary>
    public sealed class Metaspace(char replacement, bool dropFirst) : PieceStep
    {
        public override string Apply(string token, bool first) => first && dropFirst
            ? token.Replace(replacement.ToString(), "", StringComparison.Ordinal)
            : token.Replace(replacement, ' ');
    }

    /// <summary>Tokens with a space between, for a tokenizer that names no decoder.</summary>
    public sealed class Spaced : PieceStep
    {
        public override string Apply(string token, bool first) => first ? token : " " + token;
    }
}

/// <summary>What each token of a vocabulary contributes to decoded text, in bytes.</summary>
internal sealed class TokenPieces
{
    private readonly string?[] texts;
    private readonly DecoderSettings settings;
    private readonly byte[] bytes;
    private readonly int[] offsets;

    /// <summary>Works out all pieces.</summary>
    /// <param name="texts">Tokens as the vocabulary writes them, by id; null for an id without token.</param>
    /// <param name="settings">How they become text.</param>
    public TokenPieces(string?[] texts, DecoderSettings settings)
    {
        this.texts = texts;
        this.settings = settings;
        offsets = new int[texts.Length + 1];
        var all = new MemoryStream();
        for (int id = 0; id < texts.Length; id++)
        {
            all.Write(Make(id, first: false));
            offsets[id + 1] = checked((int)all.Length);
        }

        bytes = all.ToArray();
    }

    /// <summary>How many <see cref="DecoderSettings.StripContent"/> are taken off the start of the whole text.</summary>
    public int StripStart => settings.StripStart;

    public char StripContent => settings.StripContent;

    /// <summary>The piece of a token that is not the first; empty for an id outside the vocabulary.</summary>
    public ReadOnlyMemory<byte> this[int id] => Exists(id) ? bytes.AsMemory(offsets[id], offsets[id + 1] - offsets[id]) : default;

    /// <summary>Whether an id has a token.</summary>
    public bool Exists(int id) => (uint)id < (uint)texts.Length && texts[id] is not null;

    /// <summary>The piece of a token that begins the text.</summary>
    public ReadOnlyMemory<byte> First(int id) => Exists(id) ? Make(id, first: true) : default;

    private byte[] Make(int id, bool first)
    {
        if (texts[id] is not { } text)
        {
            return [];
        }

        if (settings.Raw.Contains(id))
        {
            return Encoding.UTF8.GetBytes(text);
        }

        foreach (PieceStep step in settings.Steps)
        {
            text = step.Apply(text, first);
        }

        return settings.ByteLevel ? ByteAlphabet.ToBytes(text)
            : settings.ByteFallback && TryByteToken(text, out byte value) ? [value]
            : Encoding.UTF8.GetBytes(text);
    }

    /// <summary>Reads <c>&lt;0xHH&gt;</c>: two hexadecimal digits and nothing else.</summary>
    public static bool TryByteToken(string token, out byte value)
    {
        value = 0;
        if (token.Length != 6 || !token.StartsWith("<0x", StringComparison.Ordinal) || token[5] != '>'
            || !char.IsAsciiHexDigit(token[3]) || !char.IsAsciiHexDigit(token[4]))
        {
            return false;
        }

        value = Convert.FromHexString(token.AsSpan(3, 2))[0];
        return true;
    }
}

/// <summary>How tokens become text.</summary>
internal sealed record DecoderSettings
{
    /// <summary>Applied to each token in turn.</summary>
    public IReadOnlyList<PieceStep> Steps { get; init; } = [];

    /// <summary>Whether stand-in characters become bytes (<see cref="ByteAlphabet"/>).</summary>
    public bool ByteLevel { get; init; }

    /// <summary>Whether <c>&lt;0xHH&gt;</c> becomes a byte.</summary>
    public bool ByteFallback { get; init; }

    /// <summary>How many characters are taken off the start of the whole text at most.</summary>
    public int StripStart { get; init; }

    /// <summary>The character that is taken off.</summary>
    public char StripContent { get; init; } = ' ';

    /// <summary>Ids that contribute their text as it is.</summary>
    public IReadOnlySet<int> Raw { get; init; } = new HashSet<int>();
}
