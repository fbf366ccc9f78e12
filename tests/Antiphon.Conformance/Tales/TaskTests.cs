using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using Antiphon.Conformance.Models;
using Antiphon.Engine;
using Antiphon.Models;
using Antiphon.Testing;
using Microsoft.Extensions.AI;

namespace Antiphon.Conformance.Tales;

/// <summary>The tasks of the embedded model from the conversation to the answer's text, sixteen at once through one engine.</summary>
[Collection(nameof(ModelRuns))]
public sealed partial class TaskTests(ITestOutputHelper output)
{
    private const int MostTokens = 320;

    /// <summary>What models/README.md counts of the reference run.</summary>
    private static readonly Dictionary<string, int> RightOfReference = new()
    {
        ["story"] = 60, ["sum"] = 30, ["sum_direct"] = 5, ["tool"] = 30, ["json"] = 30, ["question"] = 26, ["small"] = 30,
    };

    /// <summary>Q8_0's own weights move logits by more than the gap that the float path is held to.</summary>
    [Theory]
    [InlineData("", MatrixPrecision.Exact, 0.05)]
    [InlineData("tales.Q8_0.gguf", MatrixPrecision.Exact, 0.5)]
    [InlineData("tales.Q8_0.gguf", MatrixPrecision.Fast, 0.5)]
    [InlineData("", MatrixPrecision.Fast, 0.5)]
    public async Task Tasks_are_right_as_often_as_in_the_reference_run(string file, MatrixPrecision precision, double smallestGap)
    {
        await using LanguageModel model = await LanguageModel.LoadAsync(
            Path.Combine(SharedMaterial.Path("models", "tales"), file), new LanguageModelOptions { Precision = precision, Engine = new EngineOptions { MaxSequences = 16 } });
        JsonElement[] tasks = [.. File.ReadLines(SharedMaterial.Path("models", "tales", "reference", "tasks.jsonl")).Select(Parse)];
        GenerationChoice[] answers = await Task.WhenAll(tasks.Select(task => AnswerAsync(model, task)));

        var right = RightOfReference.Keys.ToDictionary(kind => kind, _ => 0);
        int compared = 0;
        foreach ((JsonElement task, GenerationChoice answer) in tasks.Zip(answers))
        {
            right[task.GetProperty("kind").GetString()!] += IsRight(task.GetProperty("expect"), answer.Text) ? 1 : 0;
            if (task.TryGetProperty("greedy", out JsonElement greedy))
            {
                compared += GreedyAnswers.AssertSame(greedy, answer, smallestGap);
            }
        }

        output.WriteLine($"right: {string.Join(", ", right.Select(p => $"{p.Key} {p.Value}"))}; {compared} greedy tokens compared");
        Assert.All(RightOfReference, p => Assert.True(right[p.Key] >= p.Value - 2, $"{p.Key}: {right[p.Key]} right, the reference has {p.Value}"));
        Assert.Equal(240, tasks.Length);
        Assert.True(compared > 200, $"only {compared} greedy tokens were compared");
    }

    public static TheoryData<string> Adapters() => SharedMaterial.Entries(Directory.Exists, "models", "tales-adapters");

    [Theory]
    [MemberData(nameof(Adapters))]
    public async Task Adapters_answer_as_their_reference(string adapter)
    {
        Assert.SkipWhen(adapter == SharedMaterial.Missing, "shared/models/tales-adapters is absent");
        await using LanguageModel model = await LanguageModel.LoadAsync(
            SharedMaterial.Path("models", "tales"), new LanguageModelOptions { Precision = MatrixPrecision.Exact, Adapters = [SharedMaterial.Path("models", "tales-adapters", adapter)] });
        JsonElement[] cases =
        [
            .. File.ReadLines(SharedMaterial.Path("models", "tales-adapters", "adapters.jsonl")).Select(Parse).Where(c => c.GetProperty("adapter").GetString() == adapter),
        ];
        Assert.NotEmpty(cases);
        await Task.WhenAll(cases.Select(async one =>
        {
            int[] prompt = model.Text.Encode(model.RenderChat([new ChatMessage(ChatRole.User, one.GetProperty("user").GetString())]));
            Assert.Equal(GreedyAnswers.Ints(one, "prompt_ids"), prompt);
            GreedyAnswers.AssertSame(one, await GreedyAnswers.OfAsync(model, prompt, one.GetProperty("ids").GetArrayLength()), 0.05);
        }));
    }

    private static JsonElement Parse(string line)
    {
        using JsonDocument document = JsonDocument.Parse(line);
        return document.RootElement.Clone();
    }

    private static Task<GenerationChoice> AnswerAsync(LanguageModel model, JsonElement task)
    {
        List<AITool> tools = [];
        if (task.TryGetProperty("tools", out JsonElement given))
        {
            foreach (JsonElement tool in given.EnumerateArray().Select(t => t.GetProperty("function")))
            {
                tools.Add(AIFunctionFactory.CreateDeclaration(
                    tool.GetProperty("name").GetString()!, tool.GetProperty("description").GetString(), tool.GetProperty("parameters")));
            }
        }

        var prompt = model.RenderChat(
            task.GetProperty("messages").EnumerateArray().Select(m => new ChatMessage(new ChatRole(m.GetProperty("role").GetString()!), m.GetProperty("content").GetString())),
            new GenerationOptions { Tools = tools, Thinking = task.TryGetProperty("enable_thinking", out JsonElement thinking) ? thinking.GetBoolean() : null });
        Assert.Equal(task.GetProperty("prompt").GetString(), prompt.Text);
        int[] ids = model.Text.Encode(prompt);
        Assert.Equal(GreedyAnswers.Ints(task, "prompt_ids"), ids);
        return GreedyAnswers.OfAsync(model, ids, MostTokens);
    }

    /// <summary>What models/README.md calls right.</summary>
    private static bool IsRight(JsonElement expected, string answer)
    {
        if (expected.TryGetProperty("words", out JsonElement words))
        {
            string lower = answer.ToLowerInvariant();
            return words.EnumerateArray().All(w => lower.Contains(w.GetString()!, StringComparison.Ordinal)) && answer.Split("\n\n").Length == 4;
        }

        if (expected.TryGetProperty("number", out JsonElement number))
        {
            MatchCollection numbers = Number().Matches(answer[(answer.LastIndexOf("</think>", StringComparison.Ordinal) is int end and >= 0 ? end : 0)..]);
            return numbers.Count > 0 && long.Parse(numbers[^1].Value, CultureInfo.InvariantCulture) == number.GetInt64();
        }

        if (expected.TryGetProperty("name", out JsonElement name))
        {
            Match call = Call().Match(answer);
            return call.Success && TryParse(call.Groups[1].Value, out JsonElement value) && value.GetProperty("name").ValueEquals(name.GetString())
                && JsonElement.DeepEquals(value.GetProperty("arguments"), expected.GetProperty("arguments"));
        }

        if (expected.TryGetProperty("json", out JsonElement json))
        {
            return TryParse(answer, out JsonElement value) && JsonElement.DeepEquals(value, json);
        }

        string text = expected.GetProperty("text").GetString()!;
        return answer.Trim() == text || answer.Contains(text.Split(' ')[^1].Trim('.'), StringComparison.Ordinal);
    }

    private static bool TryParse(string text, out JsonElement value)
    {
        try
        {
            value = Parse(text);
            return true;
        }
        catch (JsonException)
        {
            value = default;
            return false;
        }
    }

    [GeneratedRegex(@"-?\d+", RegexOptions.CultureInvariant)]
    private static partial Regex Number();

    [GeneratedRegex("<tool_call>(.*?)</tool_call>", RegexOptions.CultureInvariant)]
    private static partial Regex Call();
}
