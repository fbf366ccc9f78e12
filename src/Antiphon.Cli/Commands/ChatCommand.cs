using System.CommandLine;
using System.Diagnostics;
using Microsoft.Extensions.AI;

namespace Antiphon.Cli.Commands;

/// <summary><c>antiphon chat</c>: a conversation.</summary>
internal static class ChatCommand
{
    /// <summary>Creates the command.</summary>
    public static Command Create(Session session)
    {
        Argument<string[]> words = Checked.Positionals("MODEL", "A .gguf file or a model folder (default: Tales)", 0, 1);
        var system = new Option<string?>("--system") { Description = "Instructions that stand before the conversation", HelpName = "TEXT" };
        var command = new TaughtCommand(
            "chat",
            "Holds a conversation. Ctrl-C stops an answer, a second one leaves; /help lists what else can be typed.",
            "antiphon chat",
            "antiphon chat model.gguf --system \"Answer in one sentence.\"",
            "antiphon chat model.gguf --temperature 0.3 --context 4096") { words, system };
        var model = new ModelOptions(command);
        var sampling = new SamplingArguments(command);
        command.SetAction(async (parsed, cancellationToken) =>
        {
            string? path = parsed.GetValue(words) is [string given] ? given : null;
            await using LanguageModel language = await session.LoadAsync(path, model.Read(parsed, packInBackground: true), cancellationToken).ConfigureAwait(false);
            var chat = new Conversation(session, language, sampling.Read(parsed, language.DefaultSampling), parsed.GetValue(system));
            await chat.RunAsync(cancellationToken).ConfigureAwait(false);
            return ExitCode.Success;
        });
        return command;
    }

    /// <summary>The conversation and the commands that work on it.</summary>
    private sealed class Conversation(Session session, LanguageModel language, GenerationOptions options, string? instructions)
    {
        private const string Help = """
            /help           this list
            /reset          forget the conversation
            /system TEXT    set the instructions (no text: remove them) and forget the conversation
            /save FILE      write the conversation as JSON
            /load FILE      go on with a conversation from JSON
            /stats          tokens and speed of the last answer
            /exit           leave (as Ctrl-D does); Ctrl-C stops an answer
            """;

        private readonly Terminal terminal = session.Terminal;
        private readonly List<ChatMessage> messages = Start(instructions);
        private string statistics = "no answer yet";

        /// <summary>Reads and answers until the input ends.</summary>
        public async Task RunAsync(CancellationToken cancellationToken)
        {
            if (terminal.InputIsTerminal)
            {
                terminal.Error.WriteLine($"{language.Name}, {language.ContextLength:N0} tokens of context. /help lists commands, Ctrl-D leaves.");
            }

            while (true)
            {
                if (terminal.InputIsTerminal)
                {
                    terminal.Error.Write(terminal.ShowsProgress ? "\u001b[1;36m> \u001b[0m" : "> ");
                }

                session.Interrupts.EndPart();
                string? line = terminal.In.ReadLine();
                if (line is null)
                {
                    if (terminal.InputIsTerminal)
                    {
                        terminal.Error.WriteLine();
                    }

                    return;
                }

                line = line.Trim();
                if (line is "/exit" or "/quit")
                {
                    return;
                }

                if (line.StartsWith('/'))
                {
                    Command(line);
                }
                else if (line.Length > 0)
                {
                    await AnswerAsync(line, cancellationToken).ConfigureAwait(false);
                }
            }
        }

        private async Task AnswerAsync(string line, CancellationToken cancellationToken)
        {
            using CancellationTokenSource part = session.Interrupts.BeginPart();
            messages.Add(new ChatMessage(ChatRole.User, line));
            var contents = new List<AIContent>();
            var writer = new AnswerWriter(terminal);
            long start = Stopwatch.GetTimestamp();
            TimeSpan? first = null;
            bool complete = false;
            try
            {
                await foreach (AnswerPart piece in language.GenerateAsync(messages, options, part.Token).ConfigureAwait(false))
                {
                    first ??= Stopwatch.GetElapsedTime(start);
                    writer.Write(piece);
                    Collect(piece, contents);
                    if (piece.Kind == AnswerPartKind.End)
                    {
                        Count(piece, first.Value, Stopwatch.GetElapsedTime(start));
                        complete = true;
                    }
                }
            }
            catch (OperationCanceledException) when (part.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
            {
                complete = contents.Count > 0;
                statistics = "the last answer was stopped";
            }
            catch (Exception failure) when (failure is not OperationCanceledException)
            {
                // The conversation goes on without the message that could not be answered.
                writer.End();
                terminal.Error.WriteLine($"antiphon chat: {Failures.Describe(failure)}");
            }
            finally
            {
                writer.End();
                if (terminal.InputIsTerminal)
                {
                    terminal.Error.WriteLine();
                }

                if (complete)
                {
                    messages.Add(new ChatMessage(ChatRole.Assistant, contents));
                }
                else
                {
                    messages.RemoveAt(messages.Count - 1);
                }
            }
        }

        private void Command(string line)
        {
            string[] parts = line.Split((char[]?)null, 2, StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
            string rest = parts.Length > 1 ? parts[1] : "";
            try
            {
                switch (parts[0])
                {
                    case "/help":
                        terminal.Error.WriteLine(Help);
                        break;
                    case "/reset":
                        Reset(messages is [{ Role: var role } first, ..] && role == ChatRole.System ? first.Text : null);
                        terminal.Error.WriteLine("The conversation is forgotten.");
                        break;
                    case "/system":
                        Reset(rest.Length > 0 ? rest : null);
                        terminal.Error.WriteLine(rest.Length > 0 ? "The instructions are set; a new conversation starts." : "The instructions are gone; a new conversation starts.");
                        break;
                    case "/save" when rest.Length > 0:
                        TextFiles.Write(rest, MessagesJson.Write(messages));
                        terminal.Error.WriteLine($"{messages.Count} messages written to {rest}.");
                        break;
                    case "/load" when rest.Length > 0:
                        List<ChatMessage> loaded = MessagesJson.ReadMessages(rest);
                        messages.Clear();
                        messages.AddRange(loaded);
                        terminal.Error.WriteLine($"{messages.Count} messages read from {rest}.");
                        break;
                    case "/save" or "/load":
                        terminal.Error.WriteLine($"{parts[0]} needs a file: {parts[0]} conversation.json");
                        break;
                    case "/stats":
                        terminal.Error.WriteLine(statistics);
                        break;
                    default:
                        terminal.Error.WriteLine($"{parts[0]} is no command; /help lists them");
                        break;
                }
            }
            catch (Exception failure) when (failure is CommandException or IOException or UnauthorizedAccessException or System.Text.Json.JsonException or ArgumentException)
            {
                terminal.Error.WriteLine($"antiphon chat: {Failures.Describe(failure)}");
            }
        }

        private void Reset(string? system)
        {
            messages.Clear();
            messages.AddRange(Start(system));
        }

        private void Count(AnswerPart end, TimeSpan first, TimeSpan whole)
        {
            double rate = (end.Usage.CompletionTokens - 1) / Math.Max((whole - first).TotalSeconds, 1e-9);
            statistics = $"prompt {end.Usage.PromptTokens} tokens ({end.Usage.CachedTokens} from the cache), first text after {first.TotalMilliseconds:N0} ms; "
                + $"answer {end.Usage.CompletionTokens} tokens ({end.ReasoningTokens} of thought), {rate:N1} tokens/s; ended by {end.FinishReason.ToString().ToLowerInvariant()}; seed {end.Seed}";
        }

        private static void Collect(AnswerPart part, List<AIContent> contents)
        {
            switch (part.Kind)
            {
                case AnswerPartKind.Text when contents.LastOrDefault() is TextContent last:
                    last.Text += part.Text;
                    break;
                case AnswerPartKind.Text:
                    contents.Add(new TextContent(part.Text));
                    break;
                case AnswerPartKind.Reasoning when contents.LastOrDefault() is TextReasoningContent last:
                    last.Text += part.Text;
                    break;
                case AnswerPartKind.Reasoning:
                    contents.Add(new TextReasoningContent(part.Text));
                    break;
            }
        }

        private static List<ChatMessage> Start(string? system) => string.IsNullOrEmpty(system) ? [] : [new ChatMessage(ChatRole.System, system)];
    }
}
