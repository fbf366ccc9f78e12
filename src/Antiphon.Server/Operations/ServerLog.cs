namespace Antiphon.Server;

/// <summary>What the server logs.</summary>
internal static partial class ServerLog
{
    [LoggerMessage(1, LogLevel.Information, "Loading model {Model} from {Path}")]
    public static partial void Loading(ILogger logger, string model, string path);

    [LoggerMessage(2, LogLevel.Information, "Model {Model} is loaded, context length {ContextLength}")]
    public static partial void Loaded(ILogger logger, string model, int contextLength);

    [LoggerMessage(3, LogLevel.Error, "Model {Model} could not be loaded")]
    public static partial void LoadFailed(ILogger logger, Exception exception, string model);

    [LoggerMessage(4, LogLevel.Information, "Model {Model} is idle and goes to sleep")]
    public static partial void Sleeping(ILogger logger, string model);

    [LoggerMessage(5, LogLevel.Warning, "A tool of type {Type} is left out: only functions are known")]
    public static partial void UnknownToolType(ILogger logger, string type);

    [LoggerMessage(6, LogLevel.Error, "Request {RequestId} failed inside the server")]
    public static partial void Failed(ILogger logger, Exception exception, string requestId);

    [LoggerMessage(7, LogLevel.Information, "{Operation} {RequestId} on {Model}: {PromptTokens} prompt tokens ({CachedTokens} cached{Reuse}), {CompletionTokens} generated, {Outcome}, {Seconds:F3} s")]
    public static partial void Done(ILogger logger, string operation, string requestId, string model, int promptTokens, int cachedTokens, string reuse, int completionTokens, string outcome, double seconds);

    [LoggerMessage(8, LogLevel.Information, "Draining: no new requests, up to {Timeout} for those under way")]
    public static partial void Draining(ILogger logger, TimeSpan timeout);

    [LoggerMessage(10, LogLevel.Information, "Model {Model}: {Blocks} cache blocks {Action} {Path}")]
    public static partial void CacheMoved(ILogger logger, string model, int blocks, string action, string path);

    [LoggerMessage(11, LogLevel.Warning, "Model {Model}: the cache file {Path} is left out: {Reason}")]
    public static partial void CacheFailed(ILogger logger, string model, string path, string reason);

    [LoggerMessage(12, LogLevel.Warning, "Model {Model} is unloaded, but requests still use it after {Timeout}: they are ended")]
    public static partial void DrainedByForce(ILogger logger, string model, TimeSpan timeout);

    [LoggerMessage(13, LogLevel.Error, "Model {Model} could not be unloaded in order")]
    public static partial void UnloadFailed(ILogger logger, Exception exception, string model);

    [LoggerMessage(9, LogLevel.Warning, "No API keys are configured: everyone who reaches this address may use the models")]
    public static partial void NoKeys(ILogger logger);
}
