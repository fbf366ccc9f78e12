using System.Text.Json;
using Antiphon.Engine;
using Antiphon.Models;
using Antiphon.Text;

namespace Antiphon.Cli;

/// <summary>Puts any failure into one line that says what is wrong and what to do next.</summary>
internal static class Failures
{
    /// <summary>The line, without the command's name.</summary>
    public static string Describe(Exception failure)
    {
        Exception cause = failure is AggregateException { InnerExceptions.Count: 1 } several ? several.InnerExceptions[0] : failure;
        string line = cause switch
        {
            CommandException or ModelFormatException or TokenizerFormatException or EngineException or ChatFeatureNotSupportedException => cause.Message,
            UnsupportedModelException => $"{cause.Message}; use a model of one of the kinds in docs/formats.md",
            TemplateException => $"chat template: {cause.Message}; check the messages, or give another template with --template",
            JsonException => $"not valid JSON ({cause.Message}); correct the file",
            UnauthorizedAccessException or IOException => $"{cause.Message.TrimEnd('.')}; check the path and its permissions",
            OutOfMemoryException => "not enough memory; use a smaller model or a shorter --context",
            _ => $"internal error: {cause.GetType().Name}: {cause.Message}; please report it (ANTIPHON_DEBUG=1 shows where)",
        };
        return string.Join(' ', line.Split(['\r', '\n'], StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries));
    }
}
