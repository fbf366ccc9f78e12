using System.Net;
using System.Net.Sockets;
using System.Reflection;
using System.Text;
using System.Text.Json.Nodes;
using Antiphon.Engine;
using Microsoft.AspNetCore.Builder;
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
    }, map: app => app.MapGet("/own", () => "an endpoint of the application, which says nothing about access"));

    public ValueTask DisposeAsync() => server.DisposeAsync();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Every_route_needs_a_key_unless_named_public(bool onAdminPort)
    {
        string[] open = ["/health", "/ready", "/openapi.json"];
        List<RouteEndpoint> routes = [.. server.App.Services.GetRequiredService<EndpointDataSource>().Endpoints.OfType<RouteEndpoint>()];
        Assert.True(routes.Count >= 14);
        Assert.Contains(routes, route => route.RoutePattern.RawText == "/own");
        foreach (RouteEndpoint route in routes)
        {
            string path = "/" + route.RoutePattern.RawText!.TrimStart('/').Replace("{**model}", "tales");
            string method = route.Metadata.GetMetadata<HttpMethodMetadata>()!.HttpMethods.Single();
            string[] variants =
            [
                path, path + "/", path + "//", path.ToUpperInvariant(), "/" + path, "/." + path, path.Replace("/v1", "/./v1"), path.Replace("/v1", "/v1/../v1"), "/health/.." + path,
                "/health/%2e%2e" + path, "/health%2f.." + path, path + "?x=1", path + "?/health", path + "#/health", path + ";/health", path + "%00", path + "%20", path + ".", path + "%0d%0aX: y",
                path.Replace("l", "%6c"), path.Replace("l", "%256c"), path.Replace("/", "%2f"), path.Replace("/", "\\"), path + "%c0%af", "http://localhost" + path, "/health?" + path,
            ];
            foreach (string variant in variants)
            {
                foreach (string verb in (string[])[method, "GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW", method.ToLowerInvariant()])
                {
                    int status = await RawStatusAsync(onAdminPort ? adminPort : server.Address.Port, verb, variant);
                    string seen = variant.Replace("http://localhost", string.Empty).Split('?', '#')[0].TrimEnd('/').Replace("%6c", "l");
                    bool isPublic = open.Any(o => string.Equals(seen.Replace("/./", "/").Replace("/health/..", "").Replace("/health/%2e%2e", ""), o, StringComparison.OrdinalIgnoreCase));
                    Assert.True(isPublic || status is 401 or 400 or 405 or 0, $"{verb} {variant} gave {status} without a key");
                    if (open.Contains(path) && variant == path && verb == method)
                    {
                        Assert.Equal(200, status);
                    }
                }
            }

            if (!open.Contains(path))
            {
                foreach (string header in (string[])["X-HTTP-Method-Override: GET", "X-Original-URL: /health", "X-Rewrite-URL: /health", "X-Forwarded-For: 127.0.0.1", "Authorization: Bearer", "Authorization: Basic a2V5LW9uZQ==", "Authorization: key-one", "X-Api-Key:", "Cookie: X-Api-Key=key-one"])
                {
                    Assert.Equal(401, await RawStatusAsync(onAdminPort ? adminPort : server.Address.Port, method, path, header));
                }
            }
        }
    }

    [Fact]
    public void Keys_are_compared_as_hashes_and_in_constant_time()
    {
        // How long a comparison takes cannot be measured well enough to test; what does the comparing can be read off the method's calls.
        MethodInfo match = typeof(ApiKeys).GetMethod(nameof(ApiKeys.Match))!;
        byte[] body = match.GetMethodBody()!.GetILAsByteArray()!;
        List<MethodBase> calls = [];
        for (int i = 0; i + 4 < body.Length; i++)
        {
            if (body[i] is 0x28 or 0x6F)
            {
                try
                {
                    calls.Add(match.Module.ResolveMethod(BitConverter.ToInt32(body, i + 1))!);
                }
                catch (Exception failure) when (failure is ArgumentException or BadImageFormatException)
                {
                    // No call, but part of another instruction.
                }
            }
        }

        Assert.Contains(calls, call => call.Name == nameof(System.Security.Cryptography.CryptographicOperations.FixedTimeEquals));
        Assert.Contains(calls, call => call.Name == "Hash");
        Assert.DoesNotContain(calls, call => call.Name is "Equals" or "op_Equality" or "SequenceEqual" or "Contains" or "IndexOf" or "StartsWith");
        Assert.All(typeof(ApiKeys).GetFields(BindingFlags.Instance | BindingFlags.NonPublic), field => Assert.Equal(typeof(byte[][]), field.FieldType));
    }

    [Fact]
    public async Task Keys_come_from_a_file_too_without_its_comments()
    {
        string file = Path.GetTempFileName();
        try
        {
            await File.WriteAllTextAsync(file, "# for the shop\n\n  key-of-the-file \r\n#key-out\n");
            await using RunningServer own = await RunningServer.StartAsync(options =>
            {
                options.ApiKeyFile = file;
                options.ApiKeys.Add("key-of-the-line");
            });
            foreach ((string key, int expected) in ((string, int)[])[("key-of-the-file", 200), ("key-of-the-line", 200), ("key-out", 401), ("#key-out", 401), ("# for the shop", 401), ("", 401)])
            {
                Assert.Equal(expected, (await own.PostAsync("/tokenize", """{"prompt":"x"}""", key)).Status);
            }

            Assert.DoesNotContain(own.Log.Lines, line => line.Contains("No API keys", StringComparison.Ordinal));
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public async Task Without_keys_the_log_warns_and_without_admin_port_there_is_no_management()
    {
        await using RunningServer open = await RunningServer.StartAsync();
        Assert.Contains(open.Log.Lines, line => line.StartsWith("Warning: No API keys", StringComparison.Ordinal));
        Assert.Equal(HttpStatusCode.NotFound, (await open.Client.GetAsync("/admin/models")).StatusCode);
    }

    [Fact]
    public async Task Browsers_of_other_origins_are_refused_unless_named()
    {
        await using RunningServer named = await RunningServer.StartAsync(options =>
        {
            options.ApiKeys.Add("key-one");
            options.CorsOrigins.Add("https://app.example");
        });
        Assert.Null(await AllowedAsync(server, "https://app.example"));
        Assert.Null(await AllowedAsync(named, "https://evil.example"));
        Assert.Equal("https://app.example", await AllowedAsync(named, "https://app.example"));

        static async Task<string?> AllowedAsync(RunningServer asked, string origin)
        {
            using var preflight = new HttpRequestMessage(HttpMethod.Options, "/v1/chat/completions");
            preflight.Headers.Add("Origin", origin);
            preflight.Headers.Add("Access-Control-Request-Method", "POST");
            using HttpResponseMessage response = await asked.Client.SendAsync(preflight);
            return response.Headers.TryGetValues("Access-Control-Allow-Origin", out IEnumerable<string>? values) ? values.Single() : null;
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

    [Theory]
    [InlineData("evil.example", 400)]
    [InlineData("127.0.0.1.evil.example", 400)]
    [InlineData("localhost.", 400)]
    [InlineData("localhost:1", 200)]
    [InlineData("LOCALHOST", 200)]
    public async Task Another_host_name_is_refused_with_the_error_body(string host, int expected)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "/health");
        request.Headers.Host = host;
        using HttpResponseMessage response = await server.Client.SendAsync(request);
        Assert.Equal(expected, (int)response.StatusCode);
        Assert.NotEmpty(response.Headers.GetValues("X-Request-Id"));
        if (expected == 400)
        {
            Assert.Equal("host_not_allowed", (string)JsonNode.Parse(await response.Content.ReadAsStringAsync())!["error"]!["code"]!);
        }
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

    [Fact]
    public async Task Many_prompts_under_one_key_do_not_push_out_the_prefixes_of_another()
    {
        await using RunningServer small = await RunningServer.StartAsync(
            options =>
            {
                options.ApiKeys.Add("key-one");
                options.ApiKeys.Add("key-two");
            },
            new EngineOptions { BlockCount = 64 });
        string modest = $$"""{"prompt":"{{string.Concat(Enumerable.Repeat("The fox and the river went on. ", 8))}}","max_tokens":1}""";
        await small.PostAsync("/v1/completions", modest, "key-one");
        for (int i = 0; i < 40; i++)
        {
            await small.PostAsync("/v1/completions", $$"""{"prompt":"Story {{i}}. {{string.Concat(Enumerable.Repeat("A crow sat on a lamp. ", 12))}}","max_tokens":1}""", "key-two");
        }

        Assert.True(small.Engine.GetStatistics().PrefixEvictions > 64, "nothing had to be evicted");
        (_, JsonNode? again) = await small.PostAsync("/v1/completions", modest, "key-one");
        Assert.True((int)again!["usage"]!["prompt_tokens_details"]!["cached_tokens"]! > 16);
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    /// <summary>The status that a request gets whose path no client library tidied up; 0 when the server closed the connection.</summary>
    private static async Task<int> RawStatusAsync(int port, string method, string target, string? header = null)
    {
        using var client = new TcpClient();
        await client.ConnectAsync(IPAddress.Loopback, port);
        NetworkStream stream = client.GetStream();
        await stream.WriteAsync(Encoding.ASCII.GetBytes($"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n{(header is null ? "" : header + "\r\n")}Connection: close\r\n\r\n"));
        byte[] buffer = new byte[64];
        int read = await stream.ReadAtLeastAsync(buffer, 12, throwOnEndOfStream: false);
        return read < 12 ? 0 : int.Parse(Encoding.ASCII.GetString(buffer, 9, 3));
    }
}
