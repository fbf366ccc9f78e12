using System.Runtime.InteropServices;

namespace Antiphon.Cli;

/// <summary>Ctrl-C: the first press stops what the command does, the second leaves at once, with the terminal as it was found.</summary>
internal sealed class Interrupts : IDisposable
{
    private readonly Terminal terminal;
    private readonly List<PosixSignalRegistration> registrations = [];
    private readonly Lock guard = new();
    private CancellationTokenSource current;
    private bool leaveNext;
    private bool drain;

    /// <summary>Starts listening.</summary>
    /// <param name="terminal">Restored before leaving.</param>
    /// <param name="outer">Stops the command as a press of Ctrl-C does.</param>
    public Interrupts(Terminal terminal, CancellationToken outer)
    {
        this.terminal = terminal;
        Command = CancellationTokenSource.CreateLinkedTokenSource(outer);
        current = Command;
        foreach (PosixSignal signal in (ReadOnlySpan<PosixSignal>)[PosixSignal.SIGINT, PosixSignal.SIGTERM])
        {
            registrations.Add(PosixSignalRegistration.Create(signal, OnSignal));
        }
    }

    /// <summary>Cancelled by Ctrl-C, unless a part of the command takes it.</summary>
    public CancellationTokenSource Command { get; }

    /// <summary>Until disposed, Ctrl-C cancels this part alone; one more leaves.</summary>
    public CancellationTokenSource BeginPart()
    {
        lock (guard)
        {
            leaveNext = false;
            current = CancellationTokenSource.CreateLinkedTokenSource(Command.Token);
            return current;
        }
    }

    /// <summary>From now on SIGTERM, too, stops the command as the first Ctrl-C does, instead of leaving at once: a server finishes its answers.</summary>
    public void DrainOnTerminate()
    {
        lock (guard)
        {
            drain = true;
        }
    }

    /// <summary>From now on Ctrl-C leaves: nothing is being done that could be stopped.</summary>
    public void EndPart()
    {
        lock (guard)
        {
            leaveNext = true;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        registrations.ForEach(r => r.Dispose());
        Command.Dispose();
    }

    private void OnSignal(PosixSignalContext context)
    {
        context.Cancel = true;
        CancellationTokenSource stopped;
        lock (guard)
        {
            if (leaveNext || (context.Signal != PosixSignal.SIGINT && !drain))
            {
                terminal.Restore();
                if (terminal.OutputIsTerminal)
                {
                    terminal.Error.WriteLine();
                }

                Environment.Exit(context.Signal == PosixSignal.SIGINT ? ExitCode.Interrupted : 143);
            }

            leaveNext = true;
            stopped = current;
        }

        try
        {
            stopped.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // It ended in this moment.
        }
    }
}
