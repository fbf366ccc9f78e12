using System.CommandLine;

namespace Antiphon.Cli.Commands;

/// <summary><c>antiphon run</c>: one prompt, one answer.</summary>
internal static class RunCommand
{
    /// <summary>Creates the command.</summary>
    public static Command Create(Session session)
    {
        Argument<string[]> words = Checked.Positionals("[MODEL] PROMPT", "A .gguf file or a model folder, then the prompt. Without a model: Tales. Without a prompt, or with '-': standard input.", 0, 2);
        var system = new Option<string?>("--system") { Description = "Instructions that stand before the prompt", HelpName = "TEXT" };
        var raw = new Option<bool>("--raw") { Description = "Continue the prompt as plain text, without the chat template" };
        var command = new TaughtCommand(
            "run",
            "Answers one prompt and streams the answer to standard output.",
            "antiphon run \"Tell me a story about a fox and a river.\"",
            "antiphon run model.gguf \"Why is the sky blue?\" --temperature 0 --max-tokens 200",
            "antiphon run model.gguf \"Once upon a time\" --raw --seed 7",
            "cat question.txt | antiphon run model.gguf - > answer.txt") { words, system, raw };
        var model = new ModelOptions(command);
        var sampling = new SamplingArguments(command);
        command.SetAction(async (parsed, cancellationToken) =>
        {
            (string? path, string prompt) = Split(session, parsed.GetValue(words) ?? []);
            await using LanguageModel language = await session.LoadAsync(path, model.Read(parsed), cancellationToken).ConfigureAwait(false);
            GenerationOptions options = sampling.Read(parsed, language.DefaultSampling);
            string? instructions = parsed.GetValue(system);
            IAsyncEnumerable<AnswerPart> answer = parsed.GetValue(raw) ? language.CompleteAsync(prompt, options, cancellationToken)
                : instructions is null ? language.GenerateAsync(prompt, options, cancellationToken)
                : language.GenerateAsync([new(Microsoft.Extensions.AI.ChatRole.System, instructions), new(Microsoft.Extensions.AI.ChatRole.User, prompt)], options, cancellationToken);
            var writer = new AnswerWriter(session.Terminal);
            try
            {
                await foreach (AnswerPart part in answer.ConfigureAwait(false))
                {
                    writer.Write(part);
                }
            }
            finally
            {
                writer.End();
            }

            return ExitCode.Success;
        });
        return command;
    }

    private static (string? Path, string Prompt) Split(Session session, string[] words)
    {
        string? path = words.Length == 2 ? words[0] : null;
        string? prompt = words.Length switch { 2 => words[1], 1 => words[0], _ => null };
        if (words.Length == 1 && prompt != "-" && LooksLikeModel(words[0]))
        {
            if (session.Terminal.InputIsTerminal)
            {
                throw new CommandException($"no prompt given: antiphon run {words[0]} \"PROMPT\"", ExitCode.Usage);
            }

            (path, prompt) = (words[0], null);
        }

        if (prompt is null or "-")
        {
            if (session.Terminal.InputIsTerminal)
            {
                throw new CommandException("no prompt given: antiphon run \"PROMPT\", or send it to standard input", ExitCode.Usage);
            }

            prompt = session.Terminal.In.ReadToEnd().TrimEnd('\r', '\n');
        }

        return prompt.Length == 0 ? throw new CommandException("the prompt is empty; write what the model shall answer", ExitCode.Usage) : (path, prompt);
    }

    private static bool LooksLikeModel(string word) =>
        word.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase) || (Directory.Exists(word) && File.Exists(Path.Combine(word, "config.json")));
}
