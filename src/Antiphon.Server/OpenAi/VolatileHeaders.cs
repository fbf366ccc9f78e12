namespace Antiphon.Server;

/// <summary>
/// Some coding agents put a header line that changes with every turn at the front of their system prompt, which would void the prefix cache.
/// Such lines mean nothing to a model and are left out.
/// </summary>
internal static class VolatileHeaders
{
    private static readonly string[] Names = ["x-anthropic-billing-header:"];

    /// <summary>The text without volatile header lines at its front.</summary>
    public static string Strip(string text)
    {
        while (Names.Any(name => text.StartsWith(name, StringComparison.OrdinalIgnoreCase)))
        {
            int end = text.IndexOf('\n', StringComparison.Ordinal);
            text = end < 0 ? string.Empty : text[(end + 1)..];
        }

        return text;
    }
}
