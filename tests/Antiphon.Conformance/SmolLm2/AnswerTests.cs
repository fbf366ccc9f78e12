using System.Text.Json;
using Antiphon.Conformance.Models;
using Antiphon.Conformance.Tales;
using Antiphon.Engine;
using Antiphon.Models;
using Antiphon.Testing;
using Microsoft.Extensions.AI;

namespace Antiphon.Conformance.SmolLm2;

/// <summary>SmolLM2 from a user's words to the answer's words, with the template and the vocabulary inside the file.</summary>
[Collection(nameof(ModelRuns))]
public sealed class AnswerTests(ITestOutputHelper output)
{
    [Fact]
    public async Task Questions_become_the_reference_prompts_and_get_the_reference_answers()
    {
        await using LanguageModel model = await LanguageModel.LoadAsync(
            SharedMaterial.Path("models", "SmolLM2-135M-Instruct.Q4_1.gguf"), new LanguageModelOptions { Precision = MatrixPrecision.Exact });
        int whole = 0;
        foreach (string line in File.ReadLines(SharedMaterial.Path("conformance", "smollm2", "greedy.jsonl")))
        {
            using JsonDocument document = JsonDocument.Parse(line);
            JsonElement one = document.RootElement;
            var question = new ChatMessage(ChatRole.User, one.GetProperty("user").GetString());
            int[] prompt = model.Text.Encode(model.RenderChat([question]));
            Assert.Equal(GreedyAnswers.Ints(one, "prompt_ids"), prompt);
            int length = one.GetProperty("ids").GetArrayLength();
            int certain = GreedyAnswers.AssertSame(one, await GreedyAnswers.OfAsync(model, prompt, length), 0.02);
            output.WriteLine($"{question.Text}: {certain} of {length} tokens are certain, and equal");
            if (certain == length)
            {
                ChatResponse response = await model.AsChatClient().GetResponseAsync([question], new ChatOptions { Temperature = 0, MaxOutputTokens = length });
                Assert.Equal(one.GetProperty("text").GetString(), response.Text);
                whole++;
            }
        }

        Assert.True(whole > 0, "no answer was certain to its end");
    }
}
