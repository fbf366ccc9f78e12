using System.Text.Json;
using Antiphon.Testing;
using Antiphon.Text;

namespace Antiphon.Conformance.Templates;

/// <summary>The template inside Tales, against the prompts its tasks were rendered to.</summary>
public sealed class TalesTemplateTests
{
    [Fact]
    public void Renders_the_prompts_of_all_tasks()
    {
        using JsonDocument config = JsonDocument.Parse(File.ReadAllBytes(SharedMaterial.Path("models", "tales", "tokenizer_config.json")));
        ChatTemplate template = ChatTemplate.Compile(config.RootElement.GetProperty("chat_template").GetString()!);
        int count = 0;
        foreach (string line in File.ReadLines(SharedMaterial.Path("models", "tales", "reference", "tasks.jsonl")))
        {
            using JsonDocument task = JsonDocument.Parse(line);
            JsonElement root = task.RootElement;
            RenderedPrompt prompt = template.Render(new()
            {
                Messages = [.. root.GetProperty("messages").EnumerateArray().Select(m => TemplateValue.FromJson(m))],
                Tools = root.TryGetProperty("tools", out JsonElement tools) && tools.ValueKind == JsonValueKind.Array ? TemplateValue.FromJson(tools) : null,
                AddGenerationPrompt = true,
                Variables = root.TryGetProperty("enable_thinking", out JsonElement thinking)
                    ? new Dictionary<string, TemplateValue> { ["enable_thinking"] = TemplateValue.FromJson(thinking) }
                    : [],
            });
            Assert.Equal(root.GetProperty("prompt").GetString(), prompt.Text);
            count++;
        }

        Assert.True(count > 0);
    }
}
