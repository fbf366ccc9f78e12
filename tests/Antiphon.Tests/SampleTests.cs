using System.Diagnostics;

namespace Antiphon.Tests;

/// <summary>The single-file samples, each built and run as a reader would. Long: they build the projects that they use.</summary>
public sealed class SampleTests
{
    private static readonly string Folder = Find();

    public static TheoryData<string> Files =>
        [.. Directory.Exists(Folder) ? Directory.GetFiles(Folder, "*.cs").Select(f => Path.GetFileName(f)).Order(StringComparer.Ordinal).ToArray() : ["(absent)"]];

    [Theory]
    [MemberData(nameof(Files))]
    public async Task A_sample_runs(string file)
    {
        Assert.SkipUnless(Environment.GetEnvironmentVariable("ANTIPHON_LONG") == "1", "long: set ANTIPHON_LONG=1");
        Assert.SkipUnless(Directory.Exists(Folder), "the samples are not beside the tests");
        var start = new ProcessStartInfo("dotnet") { WorkingDirectory = Folder, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string argument in new[] { "run", "-c", "Release", file })
        {
            start.ArgumentList.Add(argument);
        }

        using Process process = Process.Start(start)!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        Assert.True(process.ExitCode == 0, $"{file}: {process.ExitCode}: {await errors}{output}");
        Assert.True(output.Trim().Length > 40, output);
        if (file == "neighbours.cs")
        {
            Assert.Contains("witch", output.Trim().Split('\n')[0]);
        }
    }

    private static string Find()
    {
        DirectoryInfo? folder = new(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "Antiphon.slnx")))
        {
            folder = folder.Parent;
        }

        return Path.Combine(folder?.FullName ?? "", "samples", "SingleFile");
    }
}
