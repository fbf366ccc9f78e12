using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;

namespace Antiphon.Server.Tests;

public sealed class AccessTests : IAsyncLifetime
{
    private readonly int adminPort = FreePort();
    private RunningServer server = null!;

    public async ValueTask InitializeAsync() => server = await RunningServer.StartAsync(options =>
    {
        options.ApiKeys.Add("key-one");
        options.ApiKeys.Add("key-two");
        options.AdminKeys.Add("admin-key");
        options.AdminPort = adminPort;
    });

    public ValueTask DisposeAsync() => server.DisposeAsync();

    [Fact]
    public async Task Every_route_needs_a_key_unless_named_public()
    {
        string[] open = ["/health", "/ready", "/openapi.json"];
        List<RouteEndpoint> routes = [.. server.App.Services.GetRequiredService<EndpointDataSource>().Endpoints.OfType<RouteEndpoint>()];
        Assert.True(routes.Count >= 13);
        foreach (RouteEndpoint route in routes)
        {
            string path = "/" + route.RoutePattern.RawText!.TrimStart('/').Replace("{**model}", "tales");
            string method = route.Metadata.GetMetadata<HttpMethodMetadata>()!.HttpMethods.Single();
            foreach (string variant in (string[])[path, path + "/", path.ToUpperInvariant(), "/" + path, path.Replace("/v1", "/./v1"), path + "?x=1", path + "%00", path.Replace("l", "%6c")])
            {
                foreach (string verb in (string[])[method, "GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"])
                {
                    int status = await RawStatusAsync(verb, variant);
                    bool isPublic = open.Any(o => string.Equals(variant.Split('?')[0].TrimEnd('/').Replace("%6c", "l"), o, StringComparison.OrdinalIgnoreCase));
                    Assert.True(isPublic || status is 401 or 400 or 405 or 0, $"{verb} {variant} gave {status} without a key");
                    if (isPublic && verb == method)
                    {
                        Assert.Equal(200, status);
                    }
                }
            }
        }
    }

    [Theory]
    [InlineData("key-one", 200)]
    [InlineData("key-two", 200)]
    [InlineData("key-three", 401)]
    [InlineData("admin-key", 401)]
    [InlineData("", 401)]
    public async Task Only_configured_keys_pass(string key, int expected)
    {
        using var bearer = new HttpRequestMessage(HttpMethod.Get, "/v1/models");
        bearer.Headers.TryAddWithoutValidation("Authorization", "Bearer " + key);
        Assert.Equal(expected, (int)(await server.Client.SendAsync(bearer)).StatusCode);
        using var header = new HttpRequestMessage(HttpMethod.Get, "/v1/models");
        header.Headers.TryAddWithoutValidation("X-Api-Key", key);
        Assert.Equal(expected, (int)(await server.Client.SendAsync(header)).StatusCode);
    }

    [Fact]
    public async Task A_refusal_has_the_error_body()
    {
        (int status, JsonNode? body) = await server.PostAsync("/v1/chat/completions", "{}");
        Assert.Equal(401, status);
        Assert.Equal("invalid_api_key", (string)body!["error"]!["code"]!);
    }

    [Fact]
    public async Task Management_answers_on_its_own_port_only_and_with_its_own_key()
    {
        using var client = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{adminPort}") };
        client.DefaultRequestHeaders.Add("X-Api-Key", "admin-key");
        Assert.Equal(HttpStatusCode.OK, (await client.GetAsync("/admin/models")).StatusCode);
        using var other = new HttpRequestMessage(HttpMethod.Get, "/admin/models");
        other.Headers.Add("X-Api-Key", "key-one");
        Assert.Equal(HttpStatusCode.NotFound, (await server.Client.SendAsync(other)).StatusCode);
        using var wrong = new HttpRequestMessage(HttpMethod.Get, $"http://127.0.0.1:{adminPort}/admin/models");
        wrong.Headers.Add("X-Api-Key", "key-one");
        using var plain = new HttpClient();
        Assert.Equal(HttpStatusCode.Unauthorized, (await plain.SendAsync(wrong)).StatusCode);
        using HttpResponseMessage unloaded = await client.PostAsync("/admin/models/unload", new StringContent("""{"id":"tales"}""", Encoding.UTF8, "application/json"));
        Assert.Contains("sleeping", await unloaded.Content.ReadAsStringAsync());
        using HttpResponseMessage loaded = await client.PostAsync("/admin/models/load", new StringContent("""{"id":"tales"}""", Encoding.UTF8, "application/json"));
        Assert.Contains("loaded", await loaded.Content.ReadAsStringAsync());
    }

    [Fact]
    public async Task Another_host_name_is_refused()
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "/health");
        request.Headers.Host = "evil.example";
        Assert.Equal(HttpStatusCode.BadRequest, (await server.Client.SendAsync(request)).StatusCode);
    }

    [Fact]
    public async Task Callers_with_different_keys_share_no_prefix()
    {
        string json = """{"prompt":"Once upon a time there was a fox who lived by a wide and quiet river under old trees, and the fox knew every stone and every bend of it by name, and so on and on.","max_tokens":1,"temperature":0}""";
        await server.PostAsync("/v1/completions", json, "key-one");
        (_, JsonNode? other) = await server.PostAsync("/v1/completions", json, "key-two");
        (_, JsonNode? same) = await server.PostAsync("/v1/completions", json, "key-one");
        Assert.Equal(0, (int)other!["usage"]!["prompt_tokens_details"]!["cached_tokens"]!);
        Assert.True((int)same!["usage"]!["prompt_tokens_details"]!["cached_tokens"]! > 0);
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    /// <summary>The status that a request gets whose path no client library tidied up; 0 when the server closed the connection.</summary>
    private async Task<int> RawStatusAsync(string method, string target)
    {
        using var client = new TcpClient();
        await client.ConnectAsync(IPAddress.Loopback, server.Address.Port);
        NetworkStream stream = client.GetStream();
        await stream.WriteAsync(Encoding.ASCII.GetBytes($"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
        byte[] buffer = new byte[64];
        int read = await stream.ReadAtLeastAsync(buffer, 12, throwOnEndOfStream: false);
        return read < 12 ? 0 : int.Parse(Encoding.ASCII.GetString(buffer, 9, 3));
    }
}
