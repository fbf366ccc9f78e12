using System.CommandLine;
using Antiphon.Models;
using Antiphon.Text;

namespace Antiphon.Cli.Commands;

/// <summary><c>antiphon render</c>: a conversation to a prompt.</summary>
internal static class RenderCommand
{
    /// <summary>Creates the command.</summary>
    public static Command Create(Session session)
    {
        Argument<string[]> words = Checked.Positionals(
            "[MODEL] MESSAGES", "A .gguf file or a model folder (default: Tales), then a JSON file: a list of messages, or an object with 'messages' and 'tools'. '-': standard input.", 1, 2);
        var noPrompt = new Option<bool>("--no-generation-prompt") { Description = "End behind the last message, not where the answer starts" };
        var noThinking = new Option<bool>("--no-thinking") { Description = "Render with enable_thinking false" };
        var tokens = new Option<bool>("--ids") { Description = "The prompt's token ids instead of its text" };
        var template = new Option<string?>("--template") { Description = "File with a chat template (Jinja) to use instead of the model's own", HelpName = "FILE" };
        var command = new TaughtCommand(
            "render",
            "Shows the prompt that a model's chat template makes of a conversation.",
            "echo '[{\"role\":\"user\",\"content\":\"Hello!\"}]' | antiphon render -",
            "antiphon render model.gguf messages.json",
            "antiphon render model.gguf messages.json --ids") { words, noPrompt, noThinking, tokens, template };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            string[] given = parsed.GetValue(words)!;
            string file = given[^1];
            string json = file == "-" ? session.Terminal.In.ReadToEnd() : TextFiles.Read(file);
            (List<TemplateValue> messages, TemplateValue? tools) = MessagesJson.Read(json, file == "-" ? "standard input" : file);
            using ModelSource source = Session.Open(given.Length == 2 ? given[0] : null);
            ModelText text = ModelText.Read(source, parsed.GetValue(template) is { } path ? TextFiles.Read(path) : null);
            RenderedPrompt prompt = text.Render(
                messages, tools, new GenerationOptions { Thinking = parsed.GetValue(noThinking) ? false : null }, !parsed.GetValue(noPrompt));
            await session.Terminal.Out.WriteAsync(parsed.GetValue(tokens) ? string.Join(' ', text.Encode(prompt)) + "\n" : prompt.Text).ConfigureAwait(false);
            return ExitCode.Success;
        });
        return command;
    }
}
