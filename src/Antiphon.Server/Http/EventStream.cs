using System.Buffers;
using System.Text.Json;

namespace Antiphon.Server;

/// <summary>
/// A stream of server-sent events. Writes from one request at a time; while nothing is written for a while, a comment keeps proxies from closing the
/// connection.
/// </summary>
internal sealed class EventStream : IAsyncDisposable
{
    private readonly HttpContext context;
    private readonly SemaphoreSlim writing = new(1, 1);
    private readonly ArrayBufferWriter<byte> buffer = new(1024);
    private readonly Utf8JsonWriter json;
    private readonly CancellationTokenSource stop;
    private readonly Task heartbeat;
    private long lastWrite = Environment.TickCount64;

    private EventStream(HttpContext context, TimeSpan interval)
    {
        this.context = context;
        json = new Utf8JsonWriter(buffer, JsonBody.WriterOptions);
        stop = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted);
        heartbeat = interval > TimeSpan.Zero ? BeatAsync(interval) : Task.CompletedTask;
    }

    /// <summary>Answers with a stream. What goes wrong once it has begun is sent as an event with an error body; either way <c>[DONE]</c> ends it.</summary>
    public static async Task AnswerAsync(HttpContext context, TimeSpan heartbeatInterval, Func<EventStream, Task> write)
    {
        await using EventStream stream = await StartAsync(context, heartbeatInterval);
        try
        {
            await write(stream);
        }
        catch (Exception failure) when (!context.RequestAborted.IsCancellationRequested)
        {
            await stream.SendAsync(ApiException.Of(failure, context), static (writer, error) => JsonBody.WriteError(writer, error));
        }

        await stream.FinishAsync();
    }

    private static async Task<EventStream> StartAsync(HttpContext context, TimeSpan heartbeatInterval)
    {
        context.Response.StatusCode = StatusCodes.Status200OK;
        context.Response.ContentType = "text/event-stream; charset=utf-8";
        context.Response.Headers.CacheControl = "no-cache";
        context.Response.Headers["X-Accel-Buffering"] = "no";
        await context.Response.StartAsync(context.RequestAborted);
        return new EventStream(context, heartbeatInterval);
    }

    /// <summary>Sends one event whose data is JSON.</summary>
    public async Task SendAsync<TState>(TState state, Action<Utf8JsonWriter, TState> write)
    {
        await writing.WaitAsync(context.RequestAborted);
        try
        {
            buffer.ResetWrittenCount();
            buffer.Write("data: "u8);
            json.Reset(buffer);
            write(json, state);
            json.Flush();
            buffer.Write("\n\n"u8);
            await FlushAsync();
        }
        finally
        {
            writing.Release();
        }
    }

    private async Task FinishAsync()
    {
        await writing.WaitAsync(context.RequestAborted);
        try
        {
            buffer.ResetWrittenCount();
            buffer.Write("data: [DONE]\n\n"u8);
            await FlushAsync();
        }
        finally
        {
            writing.Release();
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await stop.CancelAsync();
        await heartbeat;
        stop.Dispose();
        writing.Dispose();
        await json.DisposeAsync();
    }

    private async Task FlushAsync()
    {
        await context.Response.Body.WriteAsync(buffer.WrittenMemory, context.RequestAborted);
        await context.Response.Body.FlushAsync(context.RequestAborted);
        Volatile.Write(ref lastWrite, Environment.TickCount64);
    }

    private async Task BeatAsync(TimeSpan interval)
    {
        try
        {
            while (true)
            {
                await Task.Delay(interval, stop.Token);
                if (Environment.TickCount64 - Volatile.Read(ref lastWrite) < (long)interval.TotalMilliseconds)
                {
                    continue;
                }

                await writing.WaitAsync(stop.Token);
                try
                {
                    buffer.ResetWrittenCount();
                    buffer.Write(": keep-alive\n\n"u8);
                    await FlushAsync();
                }
                finally
                {
                    writing.Release();
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The answer is complete or the client is gone.
        }
        catch (IOException)
        {
            // The client is gone; the request's own writes find out, too.
        }
    }
}
