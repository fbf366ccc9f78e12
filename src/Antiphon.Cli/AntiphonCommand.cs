using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Parsing;
using Antiphon.Cli.Commands;

namespace Antiphon.Cli;

/// <summary>The <c>antiphon</c> command: its tree, and how it ends.</summary>
internal static class AntiphonCommand
{
    /// <summary>Parses, runs and returns the exit code. Never throws: every failure is one line on standard error.</summary>
    public static async Task<int> RunAsync(string[] args, Terminal terminal, CancellationToken cancellationToken = default)
    {
        using var interrupts = new Interrupts(terminal, cancellationToken);
        RootCommand root = Create(new Session(terminal, interrupts));
        ParseResult parsed = root.Parse(args);
        string name = CommandName(parsed);
        if (parsed.Errors.Count > 0 && parsed.Action is not (HelpAction or HelpWithExamples))
        {
            terminal.Error.WriteLine($"{name}: {FirstLine(parsed)}; see '{name} --help'");
            return ExitCode.Usage;
        }

        try
        {
            var configuration = new InvocationConfiguration
            {
                EnableDefaultExceptionHandler = false,
                ProcessTerminationTimeout = null,
                Output = terminal.Out,
                Error = terminal.Error,
            };
            return await parsed.InvokeAsync(configuration, interrupts.Command.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (interrupts.Command.IsCancellationRequested)
        {
            terminal.Restore();
            return ExitCode.Interrupted;
        }
#pragma warning disable CA1031 // The last stop of every failure.
        catch (Exception failure)
#pragma warning restore CA1031
        {
            terminal.Restore();
            terminal.Error.WriteLine($"{name}: {Failures.Describe(failure)}");
            if (Environment.GetEnvironmentVariable("ANTIPHON_DEBUG") == "1")
            {
                terminal.Error.WriteLine(failure);
            }

            return failure is CommandException known ? known.ExitCode : ExitCode.Failure;
        }
    }

    private static RootCommand Create(Session session)
    {
        var root = new RootCommand("Runs language models on this machine. Without a model, commands use Tales, a small story model that comes with Antiphon.")
        {
            RunCommand.Create(session),
            ChatCommand.Create(session),
            ServeCommand.Create(session),
            InfoCommand.Create(session),
            TokenizeCommand.Create(session),
            RenderCommand.Create(session),
            PerplexityCommand.Create(session),
            BenchCommand.Create(session),
            TuneCommand.Create(session),
            DoctorCommand.Create(session),
            MakeModelCommand.Create(session),
        };
        HelpOption help = root.Options.OfType<HelpOption>().Single();
        var show = new HelpWithExamples(
            (HelpAction)help.Action!,
            session.Terminal.OutputIsTerminal,
            ["antiphon run \"Tell me a story about a fox and a river.\"", "antiphon chat model.gguf", "antiphon info model.gguf", "antiphon run --help"]);
        help.Action = show;
        root.SetAction(result => show.Invoke(result));
        return root;
    }

    private static string CommandName(ParseResult parsed)
    {
        string name = "";
        for (SymbolResult? at = parsed.CommandResult; at is CommandResult command; at = command.Parent)
        {
            name = command.Command is RootCommand ? $"antiphon {name}" : $"{command.Command.Name} {name}";
        }

        return name.Trim();
    }

    private static string FirstLine(ParseResult parsed)
    {
        // The most telling error comes from our own checks; the parser's own follow from it.
        string message = parsed.Errors.Select(e => e.Message).OrderBy(m => m.StartsWith("Required", StringComparison.Ordinal) ? 1 : 0).First();
        return string.Join(' ', message.TrimEnd('.').Split(['\r', '\n'], StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries));
    }
}
