namespace Antiphon.Cli;

/// <summary>What happened to a request. Times are seconds since the start of the run.</summary>
internal sealed class RequestRecord
{
    /// <summary>When it was due: latencies count from here, so that a client that falls behind does not hide them.</summary>
    public required double Due { get; init; }

    /// <summary>When each piece of text arrived.</summary>
    public List<double> Pieces { get; } = [];

    /// <summary>When the answer was complete.</summary>
    public double End { get; set; }

    /// <summary>Tokens of the prompt, as the server counts.</summary>
    public int PromptTokens { get; set; }

    /// <summary>How many of them came from its cache.</summary>
    public int CachedTokens { get; set; }

    /// <summary>Tokens of the answer as the server counts, or else the number of pieces.</summary>
    public int OutputTokens { get; set; }

    /// <summary>Why it failed; null when it did not.</summary>
    public string? Error { get; set; }

    /// <summary>Whether the answer came.</summary>
    public bool Good => Error is null && Pieces.Count > 0;

    /// <summary>Time to first token, in seconds.</summary>
    public double FirstToken => Pieces[0] - Due;

    /// <summary>Mean time of the tokens behind the first, in seconds.</summary>
    public double PerToken => OutputTokens > 1 ? (Pieces[^1] - Pieces[0]) / (OutputTokens - 1) : 0;

    /// <summary>Time to the whole answer, in seconds.</summary>
    public double Total => End - Due;
}
