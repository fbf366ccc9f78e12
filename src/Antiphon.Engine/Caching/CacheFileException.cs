namespace Antiphon.Engine;

/// <summary>A saved cache cannot be used, or this cache cannot be saved. The cache is as it was before.</summary>
public sealed class CacheFileException : EngineException
{
    /// <summary>Creates the exception.</summary>
    public CacheFileException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}
