using System.Diagnostics;
using Antiphon.Testing;

namespace Antiphon.Server.Tests;

/// <summary>The official <c>openai</c> package for Node against the running server. Needs <c>npm ci</c> in tests/clients/openai-node once.</summary>
public sealed class NodeClientTests(ServerFixture fixture) : IClassFixture<ServerFixture>
{
    [Fact]
    public async Task The_openai_package_for_node_works()
    {
        string folder = Repository.At("tests", "clients", "openai-node");
        if (!Directory.Exists(Path.Combine(folder, "node_modules", "openai")))
        {
            Assert.Skip("run 'npm ci' in tests/clients/openai-node first");
        }

        var start = new ProcessStartInfo("node", "check.mjs") { WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["ANTIPHON_URL"] = fixture.Server.Address.GetLeftPart(UriPartial.Authority);
        Process process;
        try
        {
            process = Process.Start(start)!;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            Assert.Skip("node is not installed");
            return;
        }

        using (process)
        using (var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken))
        {
            limit.CancelAfter(TimeSpan.FromMinutes(3));
            Task<string> output = process.StandardOutput.ReadToEndAsync(limit.Token);
            Task<string> error = process.StandardError.ReadToEndAsync(limit.Token);
            try
            {
                await process.WaitForExitAsync(limit.Token);
            }
            catch (OperationCanceledException)
            {
                process.Kill(entireProcessTree: true);
                throw;
            }

            string text = await output + await error;
            TestContext.Current.TestOutputHelper?.WriteLine(text);
            Assert.True(process.ExitCode == 0, text);
            Assert.Equal(8, text.Split('\n').Count(line => line.StartsWith("ok ", StringComparison.Ordinal)));
        }
    }
}
