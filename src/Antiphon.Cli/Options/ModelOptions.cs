using System.CommandLine;
using Antiphon.Engine;

namespace Antiphon.Cli;

/// <summary>Options on how a model is loaded.</summary>
internal sealed class ModelOptions
{
    private readonly Option<int?> threads = Checked.Whole("--threads", "Compute threads (default: one for each processor this process may use)", 1, 1024);
    private readonly Option<int?> context = Checked.Whole("--context", "Longest conversation in tokens (default: what the model and the memory allow)", 16, int.MaxValue, "-c");
    private readonly PrecisionOption precision;
    private readonly KvFormatOption kvFormat;
    private readonly Option<string?> template = new("--template") { Description = "File with a chat template (Jinja) to use instead of the model's own", HelpName = "FILE" };
    private readonly Option<string[]> adapters = new("--adapter") { Description = "Folder of a LoRA adapter to merge into the model; may be given several times", HelpName = "FOLDER" };

    /// <summary>Adds the options to a command.</summary>
    public ModelOptions(Command command)
    {
        command.Add(threads);
        command.Add(context);
        precision = new PrecisionOption(command);
        kvFormat = new KvFormatOption(command);
        command.Add(template);
        command.Add(adapters);
    }

    /// <summary>Reads them.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="packInBackground">Whether the model may rearrange its weights while it is already in use, which pays where a person begins to type; else a bar shows how far it is.</param>
    public LanguageModelOptions Read(ParseResult parsed, bool packInBackground = false) => new()
    {
        PackInBackground = packInBackground,
        Threads = parsed.GetValue(threads),
        Precision = precision.Read(parsed),
        KvFormat = kvFormat.Read(parsed),
        TuningFile = Antiphon.Cli.TuningFile.Path,
        Engine = new EngineOptions { ContextLength = parsed.GetValue(context) },
        ChatTemplate = parsed.GetValue(template) is { } path ? TextFiles.Read(path) : null,
        Adapters = parsed.GetValue(adapters) ?? [],
    };
}
