namespace Antiphon.Cli;

/// <summary>A failure that a command explains in one line: what is wrong, and what to do next.</summary>
internal sealed class CommandException(string message, int exitCode = ExitCode.Failure) : Exception(message)
{
    /// <summary>What the process returns.</summary>
    public int ExitCode { get; } = exitCode;
}
