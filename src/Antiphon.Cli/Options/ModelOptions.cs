using System.CommandLine;
using Antiphon.Engine;
using Antiphon.Models;

namespace Antiphon.Cli;

/// <summary>Options on how a model is loaded.</summary>
internal sealed class ModelOptions
{
    private readonly Option<int?> threads = Checked.Whole("--threads", "Compute threads (default: one for each processor this process may use)", 1, 1024);
    private readonly Option<int?> context = Checked.Whole("--context", "Longest conversation in tokens (default: what the model and the memory allow)", 16, int.MaxValue, "-c");
    private readonly Option<bool> exact = ExactOption();
    private readonly Option<string?> template = new("--template") { Description = "File with a chat template (Jinja) to use instead of the model's own", HelpName = "FILE" };
    private readonly Option<string[]> adapters = new("--adapter") { Description = "Folder of a LoRA adapter to merge into the model; may be given several times", HelpName = "FOLDER" };

    /// <summary>Adds the options to a command.</summary>
    public ModelOptions(Command command)
    {
        command.Add(threads);
        command.Add(context);
        command.Add(exact);
        command.Add(template);
        command.Add(adapters);
    }

    /// <summary>The option that does without generated kernels.</summary>
    public static Option<bool> ExactOption() => new("--exact") { Description = "Multiply in float32, with the same bits on every processor: slower than machine code generated for this one, which rounds to bfloat16" };

    /// <summary>What the option chooses.</summary>
    public static MatrixPrecision Precision(ParseResult parsed, Option<bool> exact) => parsed.GetValue(exact) ? MatrixPrecision.Exact : MatrixPrecision.Fast;

    /// <summary>Reads them.</summary>
    public LanguageModelOptions Read(ParseResult parsed) => new()
    {
        Threads = parsed.GetValue(threads),
        Precision = Precision(parsed, exact),
        Engine = new EngineOptions { ContextLength = parsed.GetValue(context) },
        ChatTemplate = parsed.GetValue(template) is { } path ? TextFiles.Read(path) : null,
        Adapters = parsed.GetValue(adapters) ?? [],
    };
}
