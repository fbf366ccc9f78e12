using System.Text.Json;
using Antiphon.Engine;
using Microsoft.Extensions.AI;

namespace Antiphon.Tests;

public sealed class ChatClientTests(TalesFixture tales)
{
    private readonly IChatClient client = tales.Model.AsChatClient();

    [Fact]
    public async Task A_response_has_text_usage_finish_reason_and_ids()
    {
        ChatResponse response = await client.GetResponseAsync("Hello!", Greedy());
        Assert.Equal("Hello! Would you like a story or a sum?", response.Text);
        Assert.Equal(ChatFinishReason.Stop, response.FinishReason);
        Assert.Equal("Tales", response.ModelId);
        Assert.NotNull(response.ResponseId);
        Assert.NotNull(response.CreatedAt);
        Assert.Equal(ChatRole.Assistant, Assert.Single(response.Messages).Role);
        UsageDetails usage = Assert.IsType<UsageDetails>(response.Usage);
        Assert.True(usage.InputTokenCount > 0 && usage.OutputTokenCount > 0 && usage.CachedInputTokenCount is not null);
        Assert.Equal(usage.InputTokenCount + usage.OutputTokenCount, usage.TotalTokenCount);
    }

    [Theory]
    [InlineData("Calculate 3 - 2.")]
    [InlineData(Answer.Story)]
    public async Task A_stream_put_together_is_the_response(string prompt)
    {
        ChatResponse whole = await client.GetResponseAsync(prompt, Greedy());
        List<ChatResponseUpdate> updates = [];
        await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync(prompt, Greedy()))
        {
            updates.Add(update);
        }

        Assert.True(updates.Count > 5);
        Assert.Single(updates.Select(u => u.ResponseId).Distinct());
        Assert.Equal(1, updates.Count(u => u.FinishReason is not null));
        ChatResponse joined = updates.ToChatResponse();
        Assert.Equal(Shown(whole), Shown(joined));
        Assert.Equal(whole.FinishReason, joined.FinishReason);
        Assert.Equal(whole.Usage!.OutputTokenCount, joined.Usage!.OutputTokenCount);
    }

    [Fact]
    public async Task Thoughts_are_reasoning_content_and_go_back_to_the_template()
    {
        ChatResponse response = await client.GetResponseAsync("Calculate 3 - 2.", Greedy());
        TextReasoningContent thought = Assert.Single(response.Messages[0].Contents.OfType<TextReasoningContent>());
        Assert.StartsWith("I start with 3.", thought.Text);
        Assert.Equal("The answer is 1.", response.Text);
        Assert.True(response.Usage!.ReasoningTokenCount > 0);
        List<ChatMessage> messages = [new(ChatRole.User, "Calculate 3 - 2."), .. response.Messages];
        string prompt = tales.Model.RenderChat(messages, null, addGenerationPrompt: false).Text;
        Assert.Contains($"<think>\n{thought.Text}\n</think>\n\nThe answer is 1.<|im_end|>", prompt);
    }

    [Fact]
    public async Task Reasoning_can_be_left_out_or_turned_off()
    {
        ChatOptions hidden = Greedy();
        hidden.Reasoning = new ReasoningOptions { Output = ReasoningOutput.None };
        ChatResponse response = await client.GetResponseAsync("Calculate 3 - 2.", hidden);
        Assert.Equal("The answer is 1.", response.Text);
        Assert.Empty(response.Messages[0].Contents.OfType<TextReasoningContent>());
        Assert.True(response.Usage!.ReasoningTokenCount > 0);
        ChatOptions off = Greedy();
        off.Reasoning = new ReasoningOptions { Effort = ReasoningEffort.None };
        Assert.Equal(0, (await client.GetResponseAsync("Calculate 3 - 2.", off)).Usage!.ReasoningTokenCount);
    }

    [Fact]
    public async Task Tools_are_called_and_their_results_are_answered_from()
    {
        AIFunction weather = AIFunctionFactory.Create((string city) => """{"weather": "sunny", "degrees": 21}""", "get_weather", "Get the weather of a city.");
        ChatOptions options = Greedy();
        options.Tools = [weather];
        List<ChatMessage> messages = [new(ChatRole.User, "What is the weather in Split?")];
        ChatResponse response = await client.GetResponseAsync(messages, options);
        Assert.Equal(ChatFinishReason.ToolCalls, response.FinishReason);
        FunctionCallContent call = Assert.Single(response.Messages[0].Contents.OfType<FunctionCallContent>());
        Assert.Equal("get_weather", call.Name);
        Assert.Equal("Split", call.Arguments!["city"]!.ToString());
        Assert.Equal("", response.Text);
        messages.AddRange(response.Messages);
        object? result = await weather.InvokeAsync(new AIFunctionArguments(call.Arguments));
        messages.Add(new ChatMessage(ChatRole.Tool, [new FunctionResultContent(call.CallId, result)]));
        string prompt = tales.Model.RenderChat(messages).Text;
        Assert.Contains("<tool_call>{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Split\"}}</tool_call>", prompt);
        Assert.Contains("<tool_response>{\"weather\": \"sunny\", \"degrees\": 21}</tool_response>", prompt);
        Assert.Equal("It is sunny in Split, 21 degrees.", (await client.GetResponseAsync(messages, options)).Text);
    }

    [Fact]
    public async Task No_tools_are_given_when_the_mode_is_none()
    {
        ChatOptions options = Greedy();
        options.Tools = [AIFunctionFactory.Create((string city) => city, "get_weather")];
        options.ToolMode = ChatToolMode.None;
        ChatResponse response = await client.GetResponseAsync("Hello!", options);
        Assert.Equal("Hello! Would you like a story or a sum?", response.Text);
    }

    [Fact]
    public void Every_option_reaches_the_engine()
    {
        var options = new ChatOptions
        {
            Temperature = 0.5f, TopP = 0.6f, TopK = 7, FrequencyPenalty = 0.8f, PresencePenalty = 0.9f, MaxOutputTokens = 10, Seed = 11, StopSequences = ["x"],
            AdditionalProperties = new() { ["min_p"] = 0.1, ["repetition_penalty"] = 1.2f, ["chat_template_kwargs"] = JsonSerializer.SerializeToElement(new { a = 1 }), ["odd"] = 1 },
            Reasoning = new ReasoningOptions { Effort = ReasoningEffort.High },
            RawRepresentationFactory = _ => new GenerationOptions { Priority = 3, Seed = 99, Sampling = new SamplingOptions { TypicalP = 0.7f, Temperature = 9 } },
            ModelId = "other",
        };
        string before = JsonSerializer.Serialize(options, AIJsonUtilities.DefaultOptions);
        var mapping = new ChatOptionsMapping(options, client, SamplingOptions.Default, "Tales");
        GenerationOptions mapped = mapping.Generation;
        SamplingOptions sampling = mapped.Sampling!;
        Assert.Equal((0.5f, 0.6f, 7), (sampling.Temperature, sampling.TopP, sampling.TopK));
        Assert.Equal((0.8f, 0.9f, 0.1f), (sampling.FrequencyPenalty, sampling.PresencePenalty, sampling.MinP));
        Assert.Equal((1.2f, 0.7f), (sampling.RepetitionPenalty, sampling.TypicalP));
        Assert.Equal((10, 11, 3), (mapped.MaxTokens, mapped.Seed, mapped.Priority));
        Assert.Equal(["x"], mapped.StopStrings);
        Assert.True(mapped.Thinking);
        Assert.Equal("high", mapped.TemplateVariables["reasoning_effort"].GetString());
        Assert.Equal(1, mapped.TemplateVariables["a"].GetInt32());
        Assert.Equal(2, mapping.Ignored.Count);
        Assert.Equal(before, JsonSerializer.Serialize(options, AIJsonUtilities.DefaultOptions));
    }

    [Fact]
    public async Task What_has_no_effect_is_reported_and_the_length_is_kept()
    {
        ChatOptions options = Greedy();
        options.MaxOutputTokens = 3;
        options.AdditionalProperties = new() { ["odd"] = 1 };
        ChatResponse response = await client.GetResponseAsync("Hello!", options);
        Assert.Equal(ChatFinishReason.Length, response.FinishReason);
        Assert.Contains("odd", Assert.Single(Assert.IsAssignableFrom<IReadOnlyList<string>>(response.AdditionalProperties!["antiphon.ignored_options"])));
    }

    public static TheoryData<string> Unsupported => ["format", "conversation", "tool mode", "raw", "content"];

    [Theory]
    [MemberData(nameof(Unsupported))]
    public async Task What_cannot_be_honoured_is_refused_by_name(string what)
    {
        var options = new ChatOptions();
        var message = new ChatMessage(ChatRole.User, "Hello!");
        switch (what)
        {
            case "format": options.ResponseFormat = ChatResponseFormat.Json; break;
            case "conversation": options.ConversationId = "c"; break;
            case "tool mode": options.ToolMode = ChatToolMode.RequireAny; break;
            case "raw": options.RawRepresentationFactory = _ => "?"; break;
            default: message.Contents.Add(new DataContent(new byte[] { 1 }, "image/png")); break;
        }

        ChatFeatureNotSupportedException refused = await Assert.ThrowsAsync<ChatFeatureNotSupportedException>(() => client.GetResponseAsync([message], options));
        Assert.NotEqual("", refused.Feature);
    }

    [Fact]
    public void Services_are_the_metadata_the_model_the_engine_and_the_client()
    {
        Assert.NotNull(client.GetService<ChatClientMetadata>());
        Assert.Equal("antiphon", client.GetService<ChatClientMetadata>()!.ProviderName);
        Assert.Equal("Tales", client.GetService<ChatClientMetadata>()!.DefaultModelId);
        Assert.Same(tales.Model, client.GetService<LanguageModel>());
        Assert.Same(tales.Model.Engine, client.GetService<InferenceEngine>());
        Assert.Same(client, client.GetService<IChatClient>());
        Assert.Null(client.GetService<string>());
        Assert.Null(client.GetService(typeof(IChatClient), "key"));
    }

    [Fact]
    public async Task All_updates_of_a_stream_have_the_same_ids()
    {
        List<ChatResponseUpdate> updates = [];
        await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync("Calculate 3 - 2.", Greedy()))
        {
            updates.Add(update);
        }

        Assert.Single(updates.Select(u => (u.ResponseId, u.MessageId, u.ModelId, u.CreatedAt, u.Role)).Distinct());
        Assert.NotEqual(updates[0].ResponseId, (await client.GetResponseAsync("Hello!", Greedy())).ResponseId);
        Assert.NotNull(updates[^1].FinishReason);
        Assert.IsType<UsageContent>(Assert.Single(updates[^1].Contents));
    }

    [Fact]
    public async Task Cancelling_stops_the_engine_before_the_caller_hears_of_it()
    {
        await using LanguageModel own = await Tales.LoadAsync(new LanguageModelOptions { Threads = 1, Engine = new EngineOptions { BlockCount = 256 } });
        using var stop = new CancellationTokenSource();
        var endless = new ChatOptions { RawRepresentationFactory = _ => new SamplingOptions { LogitBias = new Dictionary<int, float> { [2041] = -100 } } };
        int updates = 0;
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (ChatResponseUpdate _ in own.AsChatClient().GetStreamingResponseAsync(Answer.Story, endless, stop.Token))
            {
                if (++updates == 3)
                {
                    await stop.CancelAsync();
                }
            }
        });

        // The engine's last word was the cancellation: it computes nothing more for this request.
        long tokens = own.Engine.GetStatistics().GeneratedTokens;
        await Task.Delay(100);
        EngineStatistics statistics = own.Engine.GetStatistics();
        Assert.Equal(tokens, statistics.GeneratedTokens);
        Assert.Equal((0, 0, 0), (statistics.Running, statistics.Waiting, statistics.CacheBlocksUsed));
        Assert.True(tokens < 200, $"{tokens} tokens though cancelled after {updates} updates");
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => own.AsChatClient().GetResponseAsync("Hello!", null, stop.Token));
    }

    [Fact]
    public async Task Tools_are_refused_where_the_template_would_drop_them()
    {
        await using LanguageModel own = await Tales.LoadAsync(new LanguageModelOptions
        {
            Threads = 1, ChatTemplate = "{% for m in messages %}{{ m.content }}{% endfor %}", Engine = new EngineOptions { BlockCount = 64 },
        });
        ChatOptions options = Greedy();
        options.Tools = [AIFunctionFactory.Create((string city) => city, "get_weather")];
        ChatFeatureNotSupportedException refused =
            await Assert.ThrowsAsync<ChatFeatureNotSupportedException>(() => own.AsChatClient().GetResponseAsync("Hello!", options));
        Assert.Equal("ChatOptions.Tools", refused.Feature);
        options.ToolMode = ChatToolMode.None;
        options.MaxOutputTokens = 1;
        await own.AsChatClient().GetResponseAsync("Hello!", options);
    }

    [Fact]
    public void A_message_with_a_call_and_its_result_keeps_their_order()
    {
        ChatMessage both = new(ChatRole.Assistant, [new FunctionResultContent("c", "sunny"), new FunctionCallContent("c", "get_weather", new Dictionary<string, object?>())]);
        string prompt = tales.Model.RenderChat([new(ChatRole.User, "Hello!"), both]).Text;
        Assert.InRange(prompt.IndexOf("<tool_call>", StringComparison.Ordinal), 0, prompt.IndexOf("<tool_response>", StringComparison.Ordinal));
        ChatMessage said = new(ChatRole.User, [new TextContent("And now?"), new FunctionResultContent("c", "sunny")]);
        prompt = tales.Model.RenderChat([new(ChatRole.User, "Hello!"), said]).Text;
        Assert.InRange(prompt.IndexOf("<tool_response>", StringComparison.Ordinal), 0, prompt.IndexOf("And now?", StringComparison.Ordinal));
    }

    [Fact]
    public void Results_are_text_or_json_and_nothing_else()
    {
        string Prompt(object? result) => tales.Model.RenderChat([new(ChatRole.User, "Hello!"), new(ChatRole.Tool, [new FunctionResultContent("c", result)])]).Text;
        Assert.Contains("<tool_response>one two</tool_response>", Prompt(new List<AIContent> { new TextContent("one "), new TextContent("two") }));
        Assert.Contains("<tool_response>1.5</tool_response>", Prompt(1.5));
        Assert.Contains("<tool_response>[1,2]</tool_response>", Prompt(JsonSerializer.SerializeToElement(new[] { 1, 2 })));
        var image = new DataContent(new byte[] { 1 }, "image/png");
        Assert.Equal("DataContent", Assert.Throws<ChatFeatureNotSupportedException>(() => Prompt(image)).Feature);
        Assert.Equal("DataContent", Assert.Throws<ChatFeatureNotSupportedException>(() => Prompt(new List<AIContent> { image })).Feature);
    }

    public static TheoryData<AIContent> Unreadable =>
    [
        new DataContent(new byte[] { 1 }, "image/png"), new UriContent("https://example.org/a.png", "image/png"), new HostedFileContent("f"), new ErrorContent("e"),
        new TextReasoningContent(null) { ProtectedData = "secret" },
    ];

    [Theory]
    [MemberData(nameof(Unreadable))]
    public void Content_that_cannot_be_read_is_refused_by_its_type(AIContent content)
    {
        ChatMessage message = new(ChatRole.User, [new TextContent("Hello!"), content]);
        Assert.Equal(content.GetType().Name, Assert.Throws<ChatFeatureNotSupportedException>(() => tales.Model.RenderChat([message])).Feature);
    }

    [Fact]
    public async Task A_call_ends_the_answer_when_only_one_is_allowed_and_a_tool_that_is_no_function_is_reported()
    {
        ChatOptions options = Greedy();
        options.Tools = [AIFunctionFactory.Create((string city) => city, "get_weather", "Get the weather of a city."), new HostedWebSearchTool()];
        options.AllowMultipleToolCalls = false;
        ChatResponse response = await client.GetResponseAsync("What is the weather in Split?", options);
        Assert.Equal(ChatFinishReason.ToolCalls, response.FinishReason);
        Assert.Single(response.Messages[0].Contents.OfType<FunctionCallContent>());
        Assert.Contains("HostedWebSearchTool", Assert.Single(Assert.IsAssignableFrom<IReadOnlyList<string>>(response.AdditionalProperties!["antiphon.ignored_options"])));
    }

    [Fact]
    public async Task Instructions_work_with_and_without_a_system_message()
    {
        ChatOptions options = Greedy();
        options.Instructions = "Be kind.";
        Assert.NotEqual("", (await client.GetResponseAsync([new(ChatRole.System, "Be short."), new(ChatRole.User, "Hello!")], options)).Text);
        Assert.NotEqual("", (await client.GetResponseAsync("Hello!", options)).Text);
    }

    [Fact]
    public async Task A_second_turn_reuses_the_cache()
    {
        List<ChatMessage> messages = [new(ChatRole.User, Answer.Story)];
        ChatResponse first = await client.GetResponseAsync(messages, Greedy());
        messages.AddRange(first.Messages);
        messages.Add(new ChatMessage(ChatRole.User, "Describe the hero as JSON."));
        ChatResponse second = await client.GetResponseAsync(messages, Greedy());
        Assert.True(second.Usage!.CachedInputTokenCount >= 16, $"{second.Usage.CachedInputTokenCount} cached");
        Assert.Contains('{', second.Text);
    }

    [Fact]
    public async Task Disposing_a_client_leaves_the_model_running()
    {
        tales.Model.AsChatClient().Dispose();
        Assert.NotEqual("", (await client.GetResponseAsync("Hello!", Greedy())).Text);
    }

    [Fact]
    public async Task Many_callers_of_one_client_with_one_cancelled()
    {
        using var stop = new CancellationTokenSource();
        Task<ChatResponse> cancelled = client.GetResponseAsync(Answer.Story, Greedy(), stop.Token);
        Task<ChatResponse>[] others = [.. Enumerable.Range(0, 16).Select(_ => client.GetResponseAsync("Hello!", Greedy()))];
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => cancelled);
        Assert.All(await Task.WhenAll(others), r => Assert.Equal("Hello! Would you like a story or a sum?", r.Text));
    }

    private static ChatOptions Greedy() => new() { Temperature = 0 };

    private static string Shown(ChatResponse response) =>
        string.Join("|", response.Messages.SelectMany(m => m.Contents).Where(c => c is not UsageContent).Select(c => $"{c.GetType().Name}:{c}"));
}
