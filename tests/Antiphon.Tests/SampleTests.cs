using System.Diagnostics;
using System.Runtime.InteropServices;
using Antiphon.Testing;

namespace Antiphon.Tests;

/// <summary>The samples, each built and run as a reader would. Long: they build the projects that they use.</summary>
public sealed class SampleTests
{
    public static TheoryData<string> Files => [.. Directory.GetFiles(Repository.At("samples", "SingleFile"), "*.cs").Select(f => Path.GetFileName(f)).Order(StringComparer.Ordinal)];

    [Theory]
    [MemberData(nameof(Files))]
    public async Task A_sample_runs(string file)
    {
        SkipUnlessLong();
        string output = await RunAsync(Repository.At("samples", "SingleFile"), "dotnet", "run", "-c", "Release", file);
        Assert.True(output.Trim().Length > 40, output);
        if (file == "neighbours.cs")
        {
            Assert.Contains("witch", output.Trim().Split('\n')[0]);
        }
    }

    /// <summary>As docs/embedding.md says: with the vectors of AVX2, which are not used otherwise.</summary>
    [Fact]
    public async Task An_application_compiled_ahead_of_time_tells_its_story()
    {
        SkipUnlessLong();
        Assert.SkipUnless(OperatingSystem.IsLinux() && RuntimeInformation.ProcessArchitecture == Architecture.X64, "compiled for Linux on x64");
        using var folder = new TemporaryFolder();
        string log = await RunAsync(
            Repository.At("samples", "Embedding"), "dotnet", "publish", "-c", "Release", "-r", "linux-x64", "-p:PublishAot=true", "-p:IlcInstructionSet=x86-64-v3",
            "--artifacts-path", folder["artifacts"], "-o", folder["out"]);
        Assert.DoesNotContain("warning", log);
        Assert.Contains("fox", await RunAsync(folder.Folder, folder["out/Embedding"]), StringComparison.OrdinalIgnoreCase);
    }

    private static void SkipUnlessLong() => Assert.SkipUnless(Environment.GetEnvironmentVariable("ANTIPHON_LONG") == "1", "long: set ANTIPHON_LONG=1");

    private static async Task<string> RunAsync(string folder, string command, params string[] arguments)
    {
        var start = new ProcessStartInfo(command, arguments) { WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true };
        using Process process = Process.Start(start)!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        Assert.True(process.ExitCode == 0, $"{command} {string.Join(' ', arguments)}: {process.ExitCode}: {await errors}{output}");
        return output;
    }
}
