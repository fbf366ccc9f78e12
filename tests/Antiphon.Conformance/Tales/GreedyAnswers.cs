using System.Text.Json;
using Antiphon.Engine;

namespace Antiphon.Conformance.Tales;

/// <summary>Greedy answers through the engine, held against recorded ones as far as those are certain.</summary>
internal static class GreedyAnswers
{
    /// <summary>The greedy answer to a prompt, control tokens shown in its text.</summary>
    public static async Task<GenerationChoice> OfAsync(LanguageModel model, int[] prompt, int maxTokens) =>
        (await model.Engine.Submit(new GenerationRequest
        {
            PromptTokens = prompt, MaxTokens = maxTokens, Sampling = SamplingOptions.Greedy, SkipSpecialTokens = false,
        }).CompleteAsync()).Choices[0];

    /// <summary>
    /// Asserts that tokens are those of a reference, up to the first that was chosen by a gap smaller than a bound, and the text too where there is no such token.
    /// </summary>
    /// <returns>The number of tokens compared.</returns>
    public static int AssertSame(JsonElement reference, GenerationChoice answer, double smallestGap)
    {
        int[] ids = Ints(reference, "ids");
        int certain = reference.GetProperty("gap").EnumerateArray().TakeWhile(gap => gap.GetDouble() >= smallestGap).Count();
        Assert.Equal(ids[..certain], answer.Tokens.Take(certain));
        if (certain == ids.Length)
        {
            Assert.Equal(reference.GetProperty("text").GetString(), answer.Text);
        }

        return certain;
    }

    /// <summary>An array of whole numbers.</summary>
    public static int[] Ints(JsonElement parent, string name) => [.. parent.GetProperty(name).EnumerateArray().Select(e => e.GetInt32())];
}
