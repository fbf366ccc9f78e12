using Antiphon.Engine;

namespace Antiphon.Server;

/// <summary><c>/health</c>, <c>/ready</c> and <c>/metrics</c>.</summary>
internal static class HealthEndpoints
{
    /// <summary>200 while every engine works, 503 when one has failed or a step takes too long.</summary>
    public static Task HealthAsync(HttpContext context) => WriteAsync(context, context.RequestServices.GetRequiredService<ServerHealth>().Trouble(), "ok");

    /// <summary>200 when every model that loads at start is loaded and takes requests.</summary>
    public static Task ReadyAsync(HttpContext context) => WriteAsync(context, context.RequestServices.GetRequiredService<ServerHealth>().NotReady(), "ready");

    /// <summary>Prometheus metrics.</summary>
    public static async Task MetricsAsync(HttpContext context)
    {
        string text = Write(context, "antiphon_") + (context.ServerOptions().VllmMetricNames ? Write(context, "vllm:") : string.Empty);
        context.Response.ContentType = "text/plain; version=0.0.4; charset=utf-8";
        await context.Response.WriteAsync(text, context.RequestAborted);
    }

    private static string Write(HttpContext context, string prefix)
    {
        var text = new MetricsText(prefix);
        List<(string Model, EngineStatistics Statistics)> models = [.. context.Models().Loaded().Select(model => (model.Id, model.Engine.GetStatistics()))];
        Gauge("num_requests_running", "gauge", "Sequences that run.", static s => s.Running);
        Gauge("num_requests_waiting", "gauge", "Sequences that wait.", static s => s.Waiting);
        Gauge("kv_cache_usage_perc", "gauge", "Share of the cache blocks in use, 0 to 1.", static s => s.CacheUsage);
        Gauge("prefix_cache_queries_total", "counter", "Prompt tokens looked up in the prefix cache.", static s => s.PrefixQueryTokens);
        Gauge("prefix_cache_hits_total", "counter", "Prompt tokens found in the prefix cache.", static s => s.PrefixHitTokens);
        Gauge("prompt_tokens_total", "counter", "Prompt tokens of admitted requests.", static s => s.PromptTokens);
        Gauge("generation_tokens_total", "counter", "Tokens generated.", static s => s.GeneratedTokens);
        Gauge("num_preemptions_total", "counter", "Sequences that gave way and were computed anew.", static s => s.Preemptions);
        Gauge("engine_steps_total", "counter", "Steps of the engine loop.", static s => s.Steps);
        ServerTelemetry telemetry = context.Telemetry();
        text.Header("request_success_total", "counter", "Answered requests by how they ended.");
        foreach ((string outcome, long count) in telemetry.Finished)
        {
            text.Sample("request_success_total", count, ("finished_reason", outcome));
        }

        telemetry.TimeToFirstToken.Write(text, "time_to_first_token_seconds", "Time from request to first token.");
        telemetry.InterToken.Write(text, "inter_token_latency_seconds", "Time between tokens behind the first.");
        telemetry.Duration.Write(text, "e2e_request_latency_seconds", "Time from request to complete answer.");
        return text.ToString();

        void Gauge(string name, string type, string help, Func<EngineStatistics, double> read)
        {
            text.Header(name, type, help);
            foreach ((string model, EngineStatistics statistics) in models)
            {
                text.Sample(name, read(statistics), ("model_name", model));
            }
        }
    }

    private static Task WriteAsync(HttpContext context, string? trouble, string good)
    {
        if (trouble is not null)
        {
            context.Response.Headers.RetryAfter = "5";
        }

        return JsonBody.WriteAsync(context, trouble is null ? 200 : 503, trouble ?? good, static (writer, status) =>
        {
            writer.WriteStartObject();
            writer.WriteString("status", status);
            writer.WriteEndObject();
        });
    }
}
