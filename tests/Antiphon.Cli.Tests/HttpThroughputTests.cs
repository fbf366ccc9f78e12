using Antiphon.Engine;
using Antiphon.Kernels;
using Antiphon.Models;
using Antiphon.Testing;
using Microsoft.AspNetCore.Builder;

namespace Antiphon.Cli.Tests;

/// <summary>
/// What the way through HTTP costs: sixteen streams from the server beside the same sixteen sequences straight on the model, as <c>antiphon bench</c> times them,
/// by turns, so that both see the same machine. The load generator shares its processors.
/// </summary>
public sealed class HttpThroughputTests(ITestOutputHelper output)
{
    private const int Streams = 16;
    private const int PromptTokens = 16;

    private static readonly bool AllOfIt = Environment.GetEnvironmentVariable("ANTIPHON_LONG") == "1";

    [Fact]
    public async Task Sixteen_streams_over_HTTP_beside_the_model_alone()
    {
        int tokens = AllOfIt ? 240 : 16;
        int rounds = AllOfIt ? 7 : 1;
        CancellationToken cancellationToken = TestContext.Current.CancellationToken;
        string path = SharedMaterial.Path("models", "SmolLM2-135M-Instruct.Q4_1.gguf");
        using var team = new ComputeTeam(Environment.ProcessorCount);
        using LoadedModel alone = ModelLoader.Load(path, new ModelLoadOptions { Team = team, Precision = MatrixPrecision.Fast });
        using var bench = new SpeedTest(alone.Backend, PromptTokens, [PromptTokens], Streams, tokens);
        LanguageModel model = await LanguageModel.LoadAsync(
            path, new LanguageModelOptions { Precision = MatrixPrecision.Fast, Engine = new EngineOptions { ContextLength = 512 } }, cancellationToken: cancellationToken);
        (WebApplication server, Uri address) = await LocalServer.StartAsync(model, cancellationToken);
        try
        {
            using var client = new LoadClient(address, null, null, chat: false);
            double tokensPerWord = await LoadGenerator.TokensPerWordAsync(client, 1, cancellationToken);

            // Warm: for some ten seconds .NET compiles what it meets often, on the same processors.
            for (int round = 0; round < (AllOfIt ? 3 : 1); round++)
            {
                await HttpAsync(-1 - round);
            }

            List<(double Alone, double Whole, double Streaming)> measured = [];
            for (int round = 1; round <= rounds; round++)
            {
                double step = bench.Decode(PromptTokens, Streams, cancellationToken);
                (double whole, double streaming) = await HttpAsync(round);
                measured.Add((Streams / step, whole, streaming));
            }

            double ratio = SpeedTest.Median(measured.Select(m => m.Whole / m.Alone));
            output.WriteLine(
                $"{Streams} streams of {PromptTokens} + {tokens} tokens, {rounds} rounds: the model alone {SpeedTest.Median(measured.Select(m => m.Alone)):f1} tokens/s; over HTTP "
                + $"{SpeedTest.Median(measured.Select(m => m.Whole)):f1} prompts included = {ratio:f2} x ({string.Join(", ", measured.Select(m => $"{m.Whole / m.Alone:f2}"))}); "
                + $"from the first token on {SpeedTest.Median(measured.Select(m => m.Streaming / m.Alone)):f2} x ({string.Join(", ", measured.Select(m => $"{m.Streaming / m.Alone:f2}"))})");

            // The steps of prompts are no step of sixteen answers: what HTTP costs shows from the first token on.
            double share = SpeedTest.Median(measured.Select(m => m.Streaming / m.Alone));
            Assert.True(share >= (AllOfIt ? 0.9 : 0.1), $"over HTTP only {share:f2} of the model's speed");

            async Task<(double Whole, double Streaming)> HttpAsync(int round)
            {
                LoadPlan plan = LoadPlan.Closed(Streams, Streams, new LoadPlan.Size(PromptTokens, tokens, 0));
                (IReadOnlyList<RequestRecord> records, double seconds) = await LoadGenerator.RunAsync(
                    client, plan, new PromptText(tokensPerWord, round), TimeSpan.FromMinutes(5), new Progress<(double, string)>(), cancellationToken);
                Assert.All(records, record => Assert.Equal((null, tokens), (record.Error, record.OutputTokens)));
                return (records.Sum(r => r.OutputTokens) / seconds, records.Sum(r => 1 / r.PerToken));
            }
        }
        finally
        {
            await server.StopAsync(CancellationToken.None);
            await server.DisposeAsync();
        }
    }
}
