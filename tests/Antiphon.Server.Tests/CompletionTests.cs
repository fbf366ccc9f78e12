using System.Text.Json.Nodes;

namespace Antiphon.Server.Tests;

public sealed class CompletionTests(ServerFixture fixture) : IClassFixture<ServerFixture>
{
    private const string Path = "/v1/completions";

    private RunningServer Server => fixture.Server;

    private static JsonObject Request(JsonNode prompt, int maxTokens = 8) => new() { ["prompt"] = prompt, ["max_tokens"] = maxTokens, ["temperature"] = 0 };

    [Fact]
    public async Task A_prompt_may_be_text_or_tokens_or_lists_of_either()
    {
        const string Text = "Once upon a time there was a fox";
        JsonNode tokens = (await Server.OkAsync("/tokenize", new JsonObject { ["prompt"] = Text }))["tokens"]!;
        JsonNode one = await Server.OkAsync(Path, Request(Text));
        string expected = (string)one["choices"]![0]!["text"]!;
        Assert.Equal(expected, (string)(await Server.OkAsync(Path, Request(tokens.DeepClone())))["choices"]![0]!["text"]!);
        JsonNode many = await Server.OkAsync(Path, Request(new JsonArray(Text, "The river", Text)));
        Assert.Equal([0, 1, 2], many["choices"]!.AsArray().Select(c => (int)c!["index"]!));
        Assert.Equal(expected, (string)many["choices"]![0]!["text"]!);
        Assert.Equal(expected, (string)many["choices"]![2]!["text"]!);
        JsonNode lists = await Server.OkAsync(Path, Request(new JsonArray(tokens.DeepClone(), tokens.DeepClone())));
        Assert.Equal(expected, (string)lists["choices"]![1]!["text"]!);
        Assert.Equal(16, (int)lists["usage"]!["completion_tokens"]!);
    }

    [Fact]
    public async Task Streams_join_to_the_whole_for_every_prompt_and_choice()
    {
        JsonObject request = Request(new JsonArray("The fox", "A river"), 12);
        request["n"] = 2;
        request["temperature"] = 1;
        request["seed"] = 3;
        request["logprobs"] = 2;
        JsonNode whole = await Server.OkAsync(Path, request);
        List<JsonNode> events = await Server.StreamAsync(Path, request);
        for (int i = 0; i < 4; i++)
        {
            List<JsonNode> mine = [.. events.Where(e => (int)e["choices"]![0]!["index"]! == i)];
            Assert.Equal((string)whole["choices"]![i]!["text"]!, string.Concat(mine.Select(e => (string)e["choices"]![0]!["text"]!)));
            Assert.Single(mine, e => e["choices"]![0]!["finish_reason"] is not null);
            Assert.Equal(
                whole["choices"]![i]!["logprobs"]!["token_logprobs"]!.AsArray().Select(v => (double)v!),
                mine.SelectMany(e => e["choices"]![0]!["logprobs"]!["token_logprobs"]!.AsArray()).Select(v => (double)v!));
        }
    }

    [Theory]
    [InlineData(0, 1, 1)]
    [InlineData(5, 4, 6)]
    public async Task Logprobs_hold_the_chosen_token_and_the_likeliest(int asked, int least, int most)
    {
        JsonObject request = Request("The fox", 6);
        request["logprobs"] = asked;
        request["ignore_eos"] = true;
        JsonNode logprobs = (await Server.OkAsync(Path, request))["choices"]![0]!["logprobs"]!;
        Assert.Equal(6, logprobs["tokens"]!.AsArray().Count);
        Assert.All(logprobs["top_logprobs"]!.AsArray(), top => Assert.InRange(top!.AsObject().Count, least, most));
        Assert.All(logprobs["token_logprobs"]!.AsArray(), value => Assert.InRange((double)value!, -9999, 0));
    }

    [Fact]
    public async Task Echo_puts_the_prompt_in_front_with_its_logprobs()
    {
        JsonObject request = Request("The fox and the river", 4);
        string tail = (string)(await Server.OkAsync(Path, request))["choices"]![0]!["text"]!;
        request["echo"] = true;
        request["logprobs"] = 1;
        JsonNode choice = (await Server.OkAsync(Path, request))["choices"]![0]!;
        Assert.Equal("The fox and the river" + tail, (string)choice["text"]!);
        JsonArray values = choice["logprobs"]!["token_logprobs"]!.AsArray();
        Assert.Null(values[0]);
        Assert.All(values.Skip(1), value => Assert.True((double)value! <= 0));
        request["max_tokens"] = 0;
        JsonNode scored = await Server.OkAsync(Path, request);
        Assert.Equal("The fox and the river", (string)scored["choices"]![0]!["text"]!);
        Assert.Equal(0, (int)scored["usage"]!["completion_tokens"]!);
    }

    [Fact]
    public async Task Usage_comes_in_a_last_chunk_or_in_all_when_asked_for()
    {
        JsonObject request = Request(new JsonArray("The fox", "A river"), 5);
        request["ignore_eos"] = true;
        Assert.All(await Server.StreamAsync(Path, request), e => Assert.False(e.AsObject().ContainsKey("usage")));
        request["stream_options"] = new JsonObject { ["include_usage"] = true };
        List<JsonNode> events = await Server.StreamAsync(Path, request);
        Assert.Empty(events[^1]["choices"]!.AsArray());
        Assert.Equal(10, (int)events[^1]["usage"]!["completion_tokens"]!);
        Assert.All(events.SkipLast(1), e => Assert.True(e.AsObject().ContainsKey("usage") && e["usage"] is null));
        request["stream_options"] = new JsonObject { ["continuous_usage_stats"] = true };
        int[] counts = [.. (await Server.StreamAsync(Path, request)).Select(e => (int)e["usage"]!["completion_tokens"]!)];
        Assert.Equal(counts.Order(), counts);
        Assert.Equal(10, counts[^1]);
    }

    [Fact]
    public async Task A_prompt_over_the_context_says_both_lengths()
    {
        (int status, JsonNode? body) = await Server.PostAsync(Path, Request(string.Concat(Enumerable.Repeat("the fox and the river ", 500))).ToJsonString());
        ChatTests.AssertError(status, body);
        Assert.Equal(("context_length_exceeded", "prompt"), ((string)body!["error"]!["code"]!, (string)body["error"]!["param"]!));
        Assert.Equal(Server.Engine.ContextLength, (int)body["error"]!["n_ctx"]!);
        Assert.True((int)body["error"]!["n_prompt_tokens"]! > Server.Engine.ContextLength);
    }

    [Theory]
    [InlineData("""{}""", "prompt")]
    [InlineData("""{"prompt":5}""", "prompt")]
    [InlineData("""{"prompt":[]}""", "prompt")]
    [InlineData("""{"prompt":[-1]}""", "prompt")]
    [InlineData("""{"prompt":[1,99999999]}""", "prompt")]
    [InlineData("""{"prompt":[1,"a"]}""", "prompt")]
    [InlineData("""{"prompt":[[1],[-1]]}""", "prompt[1]")]
    [InlineData("""{"prompt":[[1],1]}""", "prompt[1]")]
    [InlineData("""{"prompt":[[]]}""", "prompt")]
    [InlineData("""{"prompt":"x","stream_options":{"include_usage":true}}""", "stream_options")]
    [InlineData("""{"prompt":"x","logprobs":21}""", "logprobs")]
    [InlineData("""{"prompt":"x","dry_multiplier":1001}""", "dry_multiplier")]
    [InlineData("""{"prompt":[{}]}""", "prompt[0]")]
    [InlineData("""{"prompt":""}""", "prompt")]
    [InlineData("""{"prompt":"x","max_tokens":0}""", "max_tokens")]
    [InlineData("""{"prompt":"x","logprobs":-1}""", "logprobs")]
    [InlineData("""{"prompt":"x","suffix":"y"}""", "suffix")]
    [InlineData("""{"prompt":"x","best_of":3}""", "best_of")]
    public async Task Malformed_requests_are_refused_by_field(string json, string parameter)
    {
        (int status, JsonNode? body) = await Server.PostAsync(Path, json);
        ChatTests.AssertError(status, body);
        Assert.Equal(parameter, (string?)body!["error"]!["param"]);
    }

    [Fact]
    public async Task Tokens_become_the_same_text_again()
    {
        const string Text = "A fox — naïve, 狐 — said: <|im_end|>";
        JsonNode tokens = await Server.OkAsync("/tokenize", new JsonObject { ["prompt"] = Text, ["return_token_strs"] = true });
        Assert.Equal((int)tokens["count"]!, tokens["token_strs"]!.AsArray().Count);
        JsonNode text = await Server.OkAsync("/detokenize", new JsonObject { ["tokens"] = tokens["tokens"]!.DeepClone() });
        Assert.Equal(Text, (string)text["prompt"]!);
    }
}
