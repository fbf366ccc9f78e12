using System.Diagnostics;
using System.Globalization;

namespace Antiphon.Conformance.EndToEnd;

/// <summary>A run of the antiphon command in a process of its own.</summary>
/// <param name="PeakBytes">Most memory that was resident at once, mapped files included.</param>
/// <param name="FirstOutput">From the start of the process to its first line of output.</param>
internal sealed record CommandProcess(long PeakBytes, TimeSpan FirstOutput, string Output)
{
    /// <summary>Runs the command to its end.</summary>
    public static async Task<CommandProcess> RunAsync(params string[] arguments)
    {
        var start = new ProcessStartInfo(Environment.ProcessPath is { } host && Path.GetFileNameWithoutExtension(host) == "dotnet" ? host : "dotnet")
        {
            RedirectStandardOutput = true, RedirectStandardError = true,
        };
        start.ArgumentList.Add(Command());
        foreach (string argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }

        long began = Stopwatch.GetTimestamp();
        using Process process = Process.Start(start)!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        var first = new char[1];
        Task<string> output = Task.Run(async () =>
        {
            int count = await process.StandardOutput.ReadAsync(first);
            return new string(first, 0, count);
        });
        TimeSpan firstOutput = TimeSpan.Zero;
        long peak = 0;
        while (!process.HasExited)
        {
            if (firstOutput == TimeSpan.Zero && output.IsCompleted)
            {
                firstOutput = Stopwatch.GetElapsedTime(began);
                output = ReadRestAsync(output.Result, process.StandardOutput);
            }

            peak = Math.Max(peak, Peak(process.Id));
            await Task.Delay(2);
        }

        string text = await (firstOutput == TimeSpan.Zero ? ReadRestAsync(await output, process.StandardOutput) : output);
        Assert.True(process.ExitCode == 0, $"antiphon {string.Join(' ', arguments)}: {process.ExitCode}: {await errors}");
        return new CommandProcess(peak, firstOutput == TimeSpan.Zero ? Stopwatch.GetElapsedTime(began) : firstOutput, text);
    }

    private static async Task<string> ReadRestAsync(string begin, StreamReader reader) => begin + await reader.ReadToEndAsync();

    /// <summary>The command as it was built beside this test, in the same configuration.</summary>
    private static string Command()
    {
        DirectoryInfo output = new(AppContext.BaseDirectory.TrimEnd(Path.DirectorySeparatorChar));
        string path = Path.Combine(output.FullName, "..", "..", "..", "..", "..", "src", "Antiphon.Cli", "bin", output.Parent!.Name, output.Name, "Antiphon.Cli.dll");
        Assert.True(File.Exists(path), $"{path} was not built");
        return Path.GetFullPath(path);
    }

    private static long Peak(int process)
    {
        try
        {
            foreach (string line in File.ReadLines($"/proc/{process}/status"))
            {
                if (line.StartsWith("VmHWM:", StringComparison.Ordinal))
                {
                    return long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) * 1024;
                }
            }
        }
        catch (IOException)
        {
            // It ended meanwhile.
        }

        return 0;
    }
}
