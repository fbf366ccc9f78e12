using System.Text.Json;

namespace Antiphon.Server;

/// <summary>How the engine's fields are called in requests.</summary>
internal static class FieldNames
{
    /// <summary>The request's name of an engine field such as <c>Sampling.TopP</c>.</summary>
    public static string FromEngine(string field)
    {
        string last = field[(field.LastIndexOf('.') + 1)..];
        return last switch
        {
            "PromptTokens" => "prompt",
            "StopStrings" => "stop",
            "StopTokens" => "stop_token_ids",
            _ => JsonNamingPolicy.SnakeCaseLower.ConvertName(last),
        };
    }
}
