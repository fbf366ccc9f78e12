namespace Antiphon;

/// <summary>Something in a chat request that Antiphon cannot honour. The request was refused as a whole: nothing of it was dropped in silence.</summary>
public sealed class ChatFeatureNotSupportedException : NotSupportedException
{
    /// <summary>Creates the exception.</summary>
    /// <param name="feature">The option or content type, as its type is called.</param>
    /// <param name="message">Why not, and what to do instead.</param>
    public ChatFeatureNotSupportedException(string feature, string message)
        : base($"{feature}: {message}") => Feature = feature;

    /// <summary>The option or content type.</summary>
    public string Feature { get; }
}
