using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;

namespace Antiphon.Cli;

/// <summary>A command whose help ends with examples.</summary>
internal sealed class TaughtCommand(string name, string description, params string[] examples) : Command(name, description)
{
    /// <summary>Whole command lines.</summary>
    public IReadOnlyList<string> Examples { get; } = examples;
}

/// <summary>The usual help, then the examples.</summary>
internal sealed class HelpWithExamples(HelpAction usual, bool toTerminal, IReadOnlyList<string> rootExamples) : SynchronousCommandLineAction
{
    /// <inheritdoc/>
    public override bool ClearsParseErrors => true;

    /// <inheritdoc/>
    public override int Invoke(ParseResult parseResult)
    {
        if (!toTerminal)
        {
            usual.MaxWidth = 110;
        }

        usual.Invoke(parseResult);
        TextWriter output = parseResult.InvocationConfiguration.Output;
        output.WriteLine("Examples:");
        foreach (string example in parseResult.CommandResult.Command is TaughtCommand command ? command.Examples : rootExamples)
        {
            output.WriteLine($"  {example}");
        }

        return ExitCode.Success;
    }
}
