using System.CommandLine;
using System.Globalization;
using System.Text;
using Antiphon.Models;
using Antiphon.Text;
using Spectre.Console;

namespace Antiphon.Cli.Commands;

/// <summary><c>antiphon tokenize</c>: text to tokens.</summary>
internal static class TokenizeCommand
{
    /// <summary>Creates the command.</summary>
    public static Command Create(Session session)
    {
        Argument<string[]> words = Checked.Positionals("[MODEL] TEXT", "A .gguf file or a model folder (default: Tales), then the text. Without a text, or with '-': standard input.", 0, 2);
        var special = new Option<bool>("--special") { Description = "Recognise control tokens that stand in the text" };
        var around = new Option<bool>("--add-special") { Description = "Add the tokens that begin and end a text of the model" };
        var ids = new Option<bool>("--ids") { Description = "Only the ids, separated by spaces" };
        var command = new TaughtCommand(
            "tokenize",
            "Shows the tokens of a text: id and bytes of each.",
            "antiphon tokenize \"The fox crossed the river.\"",
            "antiphon tokenize model.gguf \"<|im_start|>user\" --special",
            "antiphon tokenize model.gguf - --ids < text.txt") { words, special, around, ids };
        command.SetAction(parsed =>
        {
            string[] given = parsed.GetValue(words) ?? [];
            string? path = given.Length == 2 ? given[0] : null;
            string text = given.Length == 0 || given[^1] == "-" ? StandardInput(session.Terminal) : given[^1];
            using ModelSource source = Session.Open(path);
            Tokenizer tokenizer = ModelText.Read(source).Tokenizer;
            int[] tokens = tokenizer.Encode(text, parsed.GetValue(around), parsed.GetValue(special));
            if (tokenizer.Warning is { } warning)
            {
                session.Terminal.Error.WriteLine($"antiphon tokenize: {warning}");
            }

            if (parsed.GetValue(ids))
            {
                session.Terminal.Out.WriteLine(string.Join(' ', tokens));
                return ExitCode.Success;
            }

            Table table = Tables.Create(session.Terminal, ("#", true), ("id", true), ("text", false));
            for (int i = 0; i < tokens.Length; i++)
            {
                table.AddRow(
                    i.ToString(CultureInfo.InvariantCulture),
                    tokens[i].ToString(CultureInfo.InvariantCulture),
                    Markup.Escape(Shown(tokenizer.IsSpecial(tokens[i]) ? Encoding.UTF8.GetBytes(tokenizer.TokenText(tokens[i])) : tokenizer.TokenBytes(tokens[i]).Span)));
            }

            session.Terminal.Results.Write(table);
            session.Terminal.Error.WriteLine($"{tokens.Length} tokens, {text.Length} characters");
            return ExitCode.Success;
        });
        return command;
    }

    private static string StandardInput(Terminal terminal) => terminal.InputIsTerminal
        ? throw new CommandException("no text given: antiphon tokenize \"TEXT\", or send it to standard input", ExitCode.Usage)
        : terminal.In.ReadToEnd();

    /// <summary>Bytes as text in quotes; what is no text, or does not show, as escapes.</summary>
    private static string Shown(ReadOnlySpan<byte> bytes)
    {
        var shown = new StringBuilder("\"");
        while (bytes.Length > 0)
        {
            bool valid = Rune.DecodeFromUtf8(bytes, out Rune rune, out int used) == System.Buffers.OperationStatus.Done;
            if (!valid)
            {
                foreach (byte value in bytes[..used])
                {
                    shown.Append(CultureInfo.InvariantCulture, $"\\x{value:x2}");
                }
            }
            else if (rune.Value is '"' or '\\')
            {
                shown.Append('\\').Append(rune.ToString());
            }
            else if (rune.Value == '\n')
            {
                shown.Append("\\n");
            }
            else if (Rune.IsControl(rune))
            {
                shown.Append(CultureInfo.InvariantCulture, $"\\u{rune.Value:x4}");
            }
            else
            {
                shown.Append(rune.ToString());
            }

            bytes = bytes[used..];
        }

        return shown.Append('"').ToString();
    }
}
