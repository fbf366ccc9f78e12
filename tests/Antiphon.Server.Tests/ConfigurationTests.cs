using System.Net.Http.Json;
using Antiphon.Models;
using Antiphon.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Antiphon.Server.Tests;

/// <summary>Options from a configuration, as from <c>appsettings.json</c>.</summary>
public sealed class ConfigurationTests
{
    [Fact]
    public void Every_kind_of_option_can_be_configured_and_code_has_the_last_word()
    {
        AntiphonServerOptions options = Options(
            """
            {
              "ApiKeys": ["one", "two"], "AdminPort": 9090, "PublicMetrics": true, "AllowedHosts": ["llm.example"], "DrainTimeout": "00:01:30", "MaximumBodyBytes": 2048,
              "Models": [
                {
                  "Id": "small", "Path": "model.gguf", "Aliases": ["a", "b"], "KeepAlive": "00:10:00", "Preload": false,
                  "Load": {
                    "Threads": 3, "Precision": "Int8", "KvFormat": "BF16", "Adapters": ["folder"],
                    "Engine": { "MaxSequences": 7, "ContextLength": 512, "PrefillTime": "00:00:00.020" },
                    "DefaultSampling": { "Temperature": 0.5, "TopK": 9 }
                  }
                },
                { "Id": "large", "Path": "folder" }
              ]
            }
            """,
            code => code.MaximumTools = 3);
        Assert.Equal(["one", "two"], options.ApiKeys);
        Assert.Equal(9090, options.AdminPort);
        Assert.True(options.PublicMetrics);
        Assert.Equal(["localhost", "127.0.0.1", "[::1]", "llm.example"], options.AllowedHosts);
        Assert.Equal(TimeSpan.FromSeconds(90), options.DrainTimeout);
        Assert.Equal(2048, options.MaximumBodyBytes);
        Assert.Equal(3, options.MaximumTools);
        Assert.Equal(["small", "large"], options.Models.Select(model => model.Id));
        ServedModelOptions small = options.Models[0];
        Assert.Equal("model.gguf", small.Path);
        Assert.Equal(["a", "b"], small.Aliases);
        Assert.Equal(TimeSpan.FromMinutes(10), small.KeepAlive);
        Assert.False(small.Preload);
        Assert.Equal(3, small.Load.Threads);
        Assert.Equal(MatrixPrecision.Int8, small.Load.Precision);
        Assert.Equal(KvFormat.BF16, small.Load.KvFormat);
        Assert.Equal(["folder"], small.Load.Adapters);
        Assert.Equal(7, small.Load.Engine.MaxSequences);
        Assert.Equal(512, small.Load.Engine.ContextLength);
        Assert.Equal(TimeSpan.FromMilliseconds(20), small.Load.Engine.PrefillTime);
        Assert.Equal(0.5f, small.Load.DefaultSampling!.Temperature);
        Assert.Equal(9, small.Load.DefaultSampling.TopK);
        Assert.Equal($"{new LanguageModelOptions()}", $"{options.Models[1].Load}");
    }

    [Theory]
    [InlineData("""{"Modles": []}""", "Modles")]
    [InlineData("""{"Models": [{"Id": "a", "Path": "b", "Load": {"Thread": 2}}]}""", "'Thread'")]
    [InlineData("""{"Models": [{"Path": "b"}]}""", "the name")]
    [InlineData("""{"Models": [{"Id": "a"}]}""", "Path")]
    [InlineData("""{"AdminPort": "many"}""", "many")]
    public void What_is_wrong_is_named(string json, string says)
    {
        OptionsValidationException wrong = Assert.Throws<OptionsValidationException>(() => Options(json));
        Assert.Contains(says, wrong.Message);
    }

    [Fact]
    public async Task A_configured_model_answers()
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseSetting("urls", "http://127.0.0.1:0");
        builder.Configuration.AddInMemoryCollection(new Dictionary<string, string?>
        {
            ["Antiphon:Models:0:Id"] = "tales",
            ["Antiphon:Models:0:Path"] = Repository.At("src", "Antiphon.Models.Tales", "tales.Q8_0.gguf"),
        });
        builder.Services.AddAntiphon(builder.Configuration.GetSection("Antiphon"));
        await using WebApplication app = builder.Build();
        app.MapAntiphon();
        await app.StartAsync(TestContext.Current.CancellationToken);
        using var client = new HttpClient { BaseAddress = new Uri(app.Urls.First()) };
        using HttpResponseMessage response = await client.PostAsJsonAsync(
            "/v1/completions", new { model = "tales", prompt = "Long ago", max_tokens = 3 }, TestContext.Current.CancellationToken);
        Assert.True(response.IsSuccessStatusCode, await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken));
    }

    private static AntiphonServerOptions Options(string json, Action<AntiphonServerOptions>? configure = null)
    {
        using var stream = new MemoryStream(System.Text.Encoding.UTF8.GetBytes(json));
        IConfiguration section = new ConfigurationBuilder().AddJsonStream(stream).Build();
        var services = new ServiceCollection();
        services.AddAntiphon(section, configure);
        using ServiceProvider provider = services.BuildServiceProvider();
        return provider.GetRequiredService<IOptions<AntiphonServerOptions>>().Value;
    }
}
