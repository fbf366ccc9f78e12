using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Antiphon.Models;
using Spectre.Console;

namespace Antiphon.Cli.Commands;

/// <summary><c>antiphon info</c>: what is in a model's files.</summary>
internal static class InfoCommand
{
    private const int MostItems = 4;
    private const int MostCharacters = 100;

    /// <summary>Creates the command.</summary>
    public static Command Create(Session session)
    {
        Argument<string[]> words = Checked.Positionals("FILE", "A .gguf file or a model folder (default: Tales)", 0, 1);
        var noTensors = new Option<bool>("--no-tensors") { Description = "Leave the table of tensors out" };
        var command = new TaughtCommand(
            "info",
            "Shows a model's metadata, its tensors and the memory it needs.",
            "antiphon info model.gguf",
            "antiphon info ./Qwen3-0.6B --no-tensors") { words, noTensors };
        command.SetAction(parsed =>
        {
            string? path = parsed.GetValue(words) is [string given] ? given : null;
            using ModelSource source = Session.Open(path);
            Terminal terminal = session.Terminal;
            Summary(terminal, source);
            Metadata(terminal, source);
            if (!parsed.GetValue(noTensors))
            {
                Tensors(terminal, source);
            }

            Memory(terminal, source);
            return ExitCode.Success;
        });
        return command;
    }

    private static void Summary(Terminal terminal, ModelSource source)
    {
        terminal.Out.WriteLine(source.Path);
        long parameters = source.Tensors.Sum(t => t.ElementCount);
        string formats = string.Join(", ", source.Tensors.GroupBy(t => t.Format).OrderByDescending(g => g.Sum(t => t.ByteCount))
            .Select(g => $"{g.Key} {100.0 * g.Sum(t => t.ByteCount) / Math.Max(1, source.Tensors.Sum(t => t.ByteCount)):0} %"));
        terminal.Out.WriteLine($"{Sizes.Count(parameters)} parameters in {source.Tensors.Count} tensors, {Sizes.Bytes(source.FileBytes)}; {formats}");
        terminal.Out.WriteLine();
    }

    private static void Metadata(Terminal terminal, ModelSource source)
    {
        Table table = Tables.Create(terminal, ("metadata", false), ("value", false));
        switch (source)
        {
            case GgufFile file:
                foreach ((string key, GgufValue value) in file.Metadata.Entries)
                {
                    table.AddPlain(key, Shown(value));
                }

                break;
            case HuggingFaceFolder folder:
                foreach (JsonProperty property in folder.Config.EnumerateObject())
                {
                    table.AddPlain(property.Name, Shorten(property.Value.ToString()));
                }

                break;
        }

        terminal.Results.Write(table);
        terminal.Out.WriteLine();
    }

    private static void Tensors(Terminal terminal, ModelSource source)
    {
        Table table = Tables.Create(terminal, ("tensor", false), ("format", false), ("shape", true), ("size", true));
        foreach (TensorView tensor in source.Tensors)
        {
            table.AddPlain(tensor.Name, tensor.Format.ToString(), string.Join(" x ", tensor.Shape), Sizes.Bytes(tensor.ByteCount));
        }

        terminal.Results.Write(table);
        terminal.Out.WriteLine();
    }

    private static void Memory(Terminal terminal, ModelSource source)
    {
        try
        {
            using LoadedModel model = ModelLoader.Load(source, new ModelLoadOptions { Threads = 1 });
            IBackend backend = model.Backend;
            Table table = Tables.Create(terminal, ("context", true), ("weights", true), ("cache", true), ("together", true));
            foreach (int context in new[] { 1024, 4096, 16384, 65536, backend.ContextLength }.Where(c => c <= backend.ContextLength).Distinct())
            {
                long cache = checked(context * backend.CacheBytesPerToken);
                table.AddPlain(context.ToString(CultureInfo.InvariantCulture), Sizes.Bytes(source.FileBytes), Sizes.Bytes(cache), Sizes.Bytes(source.FileBytes + cache));
            }

            terminal.Results.Write(table);
            terminal.Out.WriteLine($"Memory of one conversation of that length; each further one takes its cache again ({Sizes.Bytes(backend.CacheBytesPerToken)} a token).");
        }
        catch (Exception e) when (e is UnsupportedModelException or ModelFormatException)
        {
            terminal.Out.WriteLine($"This version cannot run the model: {Failures.Describe(e)}");
        }
    }

    private static string Shown(GgufValue value)
    {
        if (value.Type != GgufValueType.Array)
        {
            return Scalar(value);
        }

        string items = string.Join(", ", value.Elements().Take(MostItems).Select(Scalar));
        return $"{value.Count} of {value.ElementType}: {items}{(value.Count > MostItems ? ", …" : "")}";
    }

    private static string Scalar(GgufValue value) =>
        value.TryGetInteger(out Int128 integer) ? integer.ToString(CultureInfo.InvariantCulture)
        : value.TryGetFloat(out double number) ? ((float)number).ToString(CultureInfo.InvariantCulture)
        : value.TryGetBoolean(out bool flag) ? (flag ? "true" : "false")
        : value.TryGetString(out string? text) ? Shorten(text)
        : value.Type.ToString();

    private static string Shorten(string text)
    {
        // One line, and no control character of a file's reaches the terminal.
        string line = string.Concat(text.Take(MostCharacters).Select(c => c == '\n' ? '\u21B5' : char.IsControl(c) ? '\uFFFD' : c));
        return text.Length > MostCharacters ? $"{line}… ({text.Length} characters)" : line;
    }
}
