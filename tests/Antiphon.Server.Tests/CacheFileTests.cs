using System.Text.Json.Nodes;

namespace Antiphon.Server.Tests;

/// <summary>Cached prefixes survive a restart of the server.</summary>
public sealed class CacheFileTests : IDisposable
{
    private static readonly JsonObject Request = new()
    {
        ["prompt"] = string.Concat(Enumerable.Repeat("The fox and the river went on. ", 12)), ["max_tokens"] = 20, ["temperature"] = 0, ["logprobs"] = 3, ["ignore_eos"] = true,
    };

    private readonly string folder = Directory.CreateTempSubdirectory("antiphon-test-").FullName;

    private string Cache => Path.Combine(folder, "cache");

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public async Task An_answer_after_a_restart_is_the_same_and_comes_from_the_cache()
    {
        JsonNode before = await AskAsync(options => options.Models.FirstOrDefault()?.CacheFile = Cache);
        Assert.True(File.Exists(Cache));
        if (!OperatingSystem.IsWindows())
        {
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Cache));
        }

        JsonNode after = await AskAsync(options => options.Models.FirstOrDefault()?.CacheFile = Cache);
        Assert.Equal(0, (int)before["usage"]!["prompt_tokens_details"]!["cached_tokens"]!);
        Assert.True((int)after["usage"]!["prompt_tokens_details"]!["cached_tokens"]! > 0);
        Assert.Equal(before["choices"]!.ToJsonString(), after["choices"]!.ToJsonString());
        Assert.Equal(["cache"], Directory.GetFiles(folder).Select(Path.GetFileName));
    }

    [Fact]
    public async Task A_file_of_something_else_is_left_out()
    {
        await File.WriteAllTextAsync(Cache, "not a cache", TestContext.Current.CancellationToken);
        JsonNode answer = await AskAsync(options => options.Models.FirstOrDefault()?.CacheFile = Cache);
        Assert.Equal(0, (int)answer["usage"]!["prompt_tokens_details"]!["cached_tokens"]!);
    }

    private static async Task<JsonNode> AskAsync(Action<AntiphonServerOptions> configure)
    {
        await using RunningServer server = await RunningServer.StartAsync(configure);
        return await server.OkAsync("/v1/completions", Request);
    }
}
