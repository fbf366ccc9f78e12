using System.ClientModel;
using Antiphon.Engine;
using OpenAI;
using OpenAI.Chat;
using OpenAI.Models;

namespace Antiphon.Server.Tests;

/// <summary>The official .NET client, as an application uses it.</summary>
public sealed class OpenAiClientTests(ServerFixture fixture) : IClassFixture<ServerFixture>
{
    private readonly OpenAIClient client = new(new ApiKeyCredential("unused"), new OpenAIClientOptions { Endpoint = new Uri(fixture.Server.Address, "/v1") });

    private ChatClient Chat => client.GetChatClient("tales");

    [Fact]
    public async Task Chats()
    {
        ChatCompletion answer = await Chat.CompleteChatAsync(
            [new UserChatMessage("Tell me a story about a fox and a river.")], new ChatCompletionOptions { Temperature = 0, MaxOutputTokenCount = 40 });
        Assert.Contains("fox", answer.Content[0].Text);
        Assert.Equal(ChatFinishReason.Length, answer.FinishReason);
        Assert.Equal(40, answer.Usage.OutputTokenCount);
    }

    [Fact]
    public async Task Streams()
    {
        var options = new ChatCompletionOptions { Temperature = 0, MaxOutputTokenCount = 30 };
        ChatCompletion whole = await Chat.CompleteChatAsync([new UserChatMessage("Tell me a story about a fox and a river.")], options);
        string text = string.Empty;
        ChatFinishReason? finish = null;
        ChatTokenUsage? usage = null;
        await foreach (StreamingChatCompletionUpdate update in Chat.CompleteChatStreamingAsync([new UserChatMessage("Tell me a story about a fox and a river.")], options))
        {
            text += string.Concat(update.ContentUpdate.Select(p => p.Text));
            finish = update.FinishReason ?? finish;
            usage = update.Usage ?? usage;
        }

        Assert.Equal(whole.Content[0].Text, text);
        Assert.Equal(ChatFinishReason.Length, finish);
        Assert.Equal(30, usage!.OutputTokenCount);
    }

    [Fact]
    public async Task Gets_log_probabilities()
    {
        ChatCompletion answer = await Chat.CompleteChatAsync(
            [new UserChatMessage("Hello!")], new ChatCompletionOptions { MaxOutputTokenCount = 5, IncludeLogProbabilities = true, TopLogProbabilityCount = 4 });
        Assert.NotEmpty(answer.ContentTokenLogProbabilities);
        Assert.All(answer.ContentTokenLogProbabilities, token => Assert.Equal(4, token.TopLogProbabilities.Count));
    }

    [Fact]
    public async Task Calls_tools()
    {
        ChatTool tool = ChatTool.CreateFunctionTool("get_weather", "Get the weather of a city", BinaryData.FromString("""{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}"""));
        ChatCompletion answer = await Chat.CompleteChatAsync([new UserChatMessage("What is the weather in Paris?")], new ChatCompletionOptions { Temperature = 0, Tools = { tool } });
        Assert.Equal(ChatFinishReason.ToolCalls, answer.FinishReason);
        Assert.Equal("get_weather", answer.ToolCalls[0].FunctionName);
    }

    [Fact]
    public async Task Sees_errors_as_errors()
    {
        ClientResultException missing = await Assert.ThrowsAsync<ClientResultException>(() => client.GetChatClient("none").CompleteChatAsync([new UserChatMessage("x")]));
        Assert.Equal(404, missing.Status);
        ClientResultException wrong = await Assert.ThrowsAsync<ClientResultException>(() => Chat.CompleteChatAsync([new UserChatMessage("x")], new ChatCompletionOptions { TopP = 7 }));
        Assert.Equal(400, wrong.Status);
    }

    [Fact]
    public async Task Lists_models()
    {
        OpenAIModelCollection models = await client.GetOpenAIModelClient().GetModelsAsync();
        Assert.Contains(models, model => model.Id == "tales");
    }

    [Fact]
    public async Task Cancels()
    {
        await using RunningServer slow = await RunningServer.StartAsync(engine: new EngineOptions { TimeProvider = new SlowClock() });
        var own = new OpenAIClient(new ApiKeyCredential("unused"), new OpenAIClientOptions { Endpoint = new Uri(slow.Address, "/v1") });
        var options = new ChatCompletionOptions { MaxOutputTokenCount = 900 };
#pragma warning disable SCME0001 // the client's own way to send what OpenAI does not define
        options.Patch.Set("$.ignore_eos"u8, true);
#pragma warning restore SCME0001
        using var cancel = new CancellationTokenSource();
        Task<ClientResult<ChatCompletion>> answer = own.GetChatClient("tales").CompleteChatAsync([new UserChatMessage("Tell me a story about a fox and a river.")], options, cancel.Token);
        while (slow.Engine.GetStatistics().Running == 0)
        {
            await Task.Delay(1);
        }

        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => answer);
        while (slow.Engine.GetStatistics().Running > 0)
        {
            await Task.Delay(1);
        }

        Assert.True(slow.Engine.GetStatistics().GeneratedTokens < 900);
    }
}
