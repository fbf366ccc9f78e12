using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using System.Text.RegularExpressions;

namespace Antiphon.Cli;

/// <summary>A command whose help ends with examples.</summary>
internal sealed class TaughtCommand(string name, string description, params string[] examples) : Command(name, description)
{
    /// <summary>Whole command lines.</summary>
    public IReadOnlyList<string> Examples { get; } = examples;
}

/// <summary>The usual help, then the examples.</summary>
internal sealed partial class HelpWithExamples(HelpAction usual, bool toTerminal, IReadOnlyList<string> rootExamples) : SynchronousCommandLineAction
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

        TextWriter output = parseResult.InvocationConfiguration.Output;
        using var help = new StringWriter();
        parseResult.InvocationConfiguration.Output = help;
        usual.Invoke(parseResult);
        parseResult.InvocationConfiguration.Output = output;

        // Our arguments are named as they are typed, optional ones in brackets; the usual decoration of one list would say it wrongly.
        output.WriteLine(Decoration().Replace(help.ToString(), match => match.Groups["name"].Value.PadRight(match.Groups["pad"].Success ? match.Length : 0)).TrimEnd());
        output.WriteLine();
        output.WriteLine("Examples:");
        foreach (string example in parseResult.CommandResult.Command is TaughtCommand command ? command.Examples : rootExamples)
        {
            output.WriteLine($"  {example}");
        }

        return ExitCode.Success;
    }

    [GeneratedRegex(@"\[<(?<name>[^>]+)>\.\.\.\]|(?<=^  )<(?<name>[^>]+)>(?<pad> +)", RegexOptions.CultureInvariant | RegexOptions.Multiline)]
    private static partial Regex Decoration();
}
