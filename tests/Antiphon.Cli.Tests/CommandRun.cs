namespace Antiphon.Cli.Tests;

/// <summary>Runs the command inside the test process, with its own standard streams.</summary>
internal sealed record CommandRun(int ExitCode, string Out, string Error)
{
    public static async Task<CommandRun> Of(string[] args, string input = "", CancellationToken cancellationToken = default)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        using var reader = new StringReader(input);
        int code = await AntiphonCommand.RunAsync(args, new Terminal(reader, output, error), cancellationToken);
        return new CommandRun(code, output.ToString(), error.ToString());
    }

    public static Task<CommandRun> Of(params string[] args) => Of(args, "");

    /// <summary>A failure as every command reports it: a code, nothing on standard output, one line on standard error.</summary>
    public void AssertFailed(int code, params string[] says)
    {
        Assert.Equal(code, ExitCode);
        Assert.Equal("", Out);
        Assert.Single(Error.TrimEnd('\n').Split('\n'));
        Assert.StartsWith("antiphon", Error);
        Assert.DoesNotContain("internal error", Error);
        foreach (string text in says)
        {
            Assert.Contains(text, Error, StringComparison.OrdinalIgnoreCase);
        }
    }

    public void AssertSucceeded()
    {
        Assert.True(ExitCode == 0, $"exit code {ExitCode}: {Error}");
    }
}
