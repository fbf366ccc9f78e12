using System.Text;
using Spectre.Console;

namespace Antiphon.Cli;

/// <summary>
/// Where a command reads and writes. Results go to <see cref="Out"/> and to nothing else; everything about the run itself goes to <see cref="Error"/>.
/// Colour and movement only where a person looks at a terminal and has not asked for plain text (<c>NO_COLOR</c>).
/// </summary>
internal sealed class Terminal
{
    private const string ResetSequence = "\u001b[0m\u001b[?25h";

    /// <summary>Makes a terminal of readers and writers.</summary>
    public Terminal(TextReader input, TextWriter output, TextWriter error, bool inputIsTerminal = false, bool outputIsTerminal = false, bool errorIsTerminal = false)
    {
        In = input;
        Out = output;
        Error = error;
        InputIsTerminal = inputIsTerminal;
        OutputIsTerminal = outputIsTerminal;
        bool plain = !string.IsNullOrEmpty(Environment.GetEnvironmentVariable("NO_COLOR")) || Environment.GetEnvironmentVariable("TERM") == "dumb";
        Color = outputIsTerminal && !plain;
        ShowsProgress = errorIsTerminal && !plain;
        Results = Create(output, Color);
        Notes = Create(error, ShowsProgress);
    }

    /// <summary>Standard input.</summary>
    public TextReader In { get; }

    /// <summary>Standard output: results.</summary>
    public TextWriter Out { get; }

    /// <summary>Standard error: everything else.</summary>
    public TextWriter Error { get; }

    /// <summary>Whether a person types.</summary>
    public bool InputIsTerminal { get; }

    /// <summary>Whether a person reads the results.</summary>
    public bool OutputIsTerminal { get; }

    /// <summary>Whether results may be coloured.</summary>
    public bool Color { get; }

    /// <summary>Whether progress is shown.</summary>
    public bool ShowsProgress { get; }

    /// <summary>Results, for tables.</summary>
    public IAnsiConsole Results { get; }

    /// <summary>Standard error, for progress.</summary>
    public IAnsiConsole Notes { get; }

    /// <summary>The terminal of this process, in UTF-8 without byte order mark.</summary>
    public static Terminal OfProcess()
    {
        var utf8 = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false);
        var output = new StreamWriter(Console.OpenStandardOutput(), utf8) { AutoFlush = true };
        var error = new StreamWriter(Console.OpenStandardError(), utf8) { AutoFlush = true };
        TextReader input = Console.IsInputRedirected ? new StreamReader(Console.OpenStandardInput(), utf8) : Console.In;
        return new Terminal(input, output, error, !Console.IsInputRedirected, !Console.IsOutputRedirected, !Console.IsErrorRedirected);
    }

    /// <summary>A text in another style, where colour is shown; else the text.</summary>
    public string Styled(string text, string code) => Color ? $"\u001b[{code}m{text}\u001b[0m" : text;

    /// <summary>Leaves the terminal as it was found: no colour, the cursor visible.</summary>
    public void Restore()
    {
        if (Color)
        {
            Out.Write(ResetSequence);
            Out.Flush();
        }
        else if (ShowsProgress)
        {
            Error.Write(ResetSequence);
            Error.Flush();
        }
    }

    /// <summary>Runs something long with a progress bar on standard error, which is gone afterwards. The work reports shares from 0 to 1 with a word on what it does.</summary>
    public async Task<T> WithProgressAsync<T>(string title, Func<IProgress<(double Share, string Note)>, Task<T>> work)
    {
        if (!ShowsProgress)
        {
            return await work(new Ignore()).ConfigureAwait(false);
        }

        return await Notes.Progress()
            .AutoClear(true)
            .Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new RemainingTimeColumn())
            .StartAsync(async context =>
            {
                ProgressTask task = context.AddTask(Markup.Escape(title), maxValue: 1);
                return await work(new Report(task, title)).ConfigureAwait(false);
            }).ConfigureAwait(false);
    }

    private static IAnsiConsole Create(TextWriter writer, bool ansi)
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Ansi = ansi ? AnsiSupport.Yes : AnsiSupport.No,
            ColorSystem = ansi ? ColorSystemSupport.Standard : ColorSystemSupport.NoColors,
            Interactive = ansi ? InteractionSupport.Yes : InteractionSupport.No,
            Out = new AnsiConsoleOutput(writer),
        });
        if (!ansi)
        {
            // Lines of a file have no width to break at.
            console.Profile.Width = 4000;
        }

        return console;
    }

    private sealed class Ignore : IProgress<(double Share, string Note)>
    {
        public void Report((double Share, string Note) value)
        {
        }
    }

    private sealed class Report(ProgressTask task, string title) : IProgress<(double Share, string Note)>
    {
        void IProgress<(double Share, string Note)>.Report((double Share, string Note) value)
        {
            task.Value = value.Share;
            task.Description = Markup.Escape(value.Note.Length == 0 ? title : $"{title}: {value.Note}");
        }
    }
}
