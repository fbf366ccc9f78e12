using System.Net.Http.Json;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Antiphon.Testing;

namespace Antiphon.Cli.Tests;

/// <summary>The command that serves; what it serves is tested with the server.</summary>
public sealed class ServeTests
{
    [Fact]
    public async Task Every_option_of_the_command_is_in_the_docs_and_no_other()
    {
        CommandRun help = await CommandRun.Of("serve", "--help");
        help.AssertSucceeded();
        string[] lines = await File.ReadAllLinesAsync(Repository.At("docs", "serving.md"), TestContext.Current.CancellationToken);
        IEnumerable<string> documented = lines.SkipWhile(line => line != "## Options").Skip(1).TakeWhile(line => !line.StartsWith("## ", StringComparison.Ordinal))
            .Where(line => line.StartsWith("| `--", StringComparison.Ordinal)).Select(line => Regex.Match(line, "--[a-z-]+").Value);
        IEnumerable<string> known = Regex.Matches(help.Out, "^ +(?:-[a-z?], )*(--[a-z-]+)", RegexOptions.Multiline).Select(match => match.Groups[1].Value).Where(name => name is not ("--help" or "--version")).Distinct();
        Assert.True(known.Count() > 15, help.Out);
        Assert.Equal(known.Order(StringComparer.Ordinal), documented.Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task Serves_over_tls_with_keys_and_finds_its_prefixes_again_after_a_restart()
    {
        using var folder = new TemporaryFolder();
        string keys = folder.Write("keys", "# one\nthe-key\n");
        string pem = folder.Write("server.pem", Certificate());
        int[] cached = new int[2];
        for (int i = 0; i < 2; i++)
        {
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
            var error = new StringWriter();
            Task<int> serving = AntiphonCommand.RunAsync(
                ["serve", "--port", "0", "--tls-certificate", pem, "--api-key-file", keys, "--cache-file", folder["prefixes"], "--quiet"],
                new Terminal(TextReader.Null, TextWriter.Null, TextWriter.Synchronized(error)),
                stop.Token);
            string? address = null;
            while (address is null)
            {
                Assert.False(serving.IsCompleted, error.ToString());
                await Task.Delay(20, TestContext.Current.CancellationToken);
                Match match = Regex.Match(error.ToString(), "Listening on (https://127.0.0.1:[0-9]+)");
                address = match.Success ? match.Groups[1].Value : null;
            }

            int sent = 0;
            using var handler = new HttpClientHandler
            {
                ServerCertificateCustomValidationCallback = (_, certificate, chain, _) =>
                {
                    sent = chain!.ChainPolicy.ExtraStore.Count;
                    return certificate!.Subject == "CN=antiphon.test";
                },
            };
            using var client = new HttpClient(handler) { BaseAddress = new Uri(address) };
            Assert.Equal(401, (int)(await client.GetAsync("/v1/models", TestContext.Current.CancellationToken)).StatusCode);
            Assert.True(sent >= 1, "the certificate of the authority was not sent along");
            client.DefaultRequestHeaders.Authorization = new("Bearer", "the-key");
            var request = new { prompt = string.Concat(Enumerable.Repeat("The fox and the river went on. ", 12)), max_tokens = 2 };
            using HttpResponseMessage response = await client.PostAsJsonAsync("/v1/completions", request, TestContext.Current.CancellationToken);
            string body = await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
            Assert.True(response.IsSuccessStatusCode, body);
            cached[i] = (int)JsonNode.Parse(body)!["usage"]!["prompt_tokens_details"]!["cached_tokens"]!;
            await stop.CancelAsync();
            Assert.Equal(0, await serving);
        }

        Assert.Equal(0, cached[0]);
        Assert.True(cached[1] > 40, $"only {cached[1]} tokens were found again");
    }

    [Theory]
    [InlineData("--tls-certificate", "/no/such/file.pem", "--tls-certificate")]
    [InlineData("--api-key-file", "/no/such/file", "ApiKeyFile")]
    [InlineData("--host", "nonsense.example", "--host")]
    [InlineData("--admin-port", "0", "--admin-port")]
    public async Task What_cannot_be_served_is_one_line(string option, string value, string says)
    {
        CommandRun run = await CommandRun.Of("serve", "--port", "0", option, value);
        Assert.NotEqual(0, run.ExitCode);
        run.AssertFailed(run.ExitCode, says);
    }

    /// <summary>A certificate, that of the authority that issued it, and the key.</summary>
    private static string Certificate()
    {
        DateTimeOffset now = DateTimeOffset.UtcNow;
        using var authorityKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var authority = new CertificateRequest("CN=authority.test", authorityKey, HashAlgorithmName.SHA256);
        authority.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        using X509Certificate2 issuer = authority.CreateSelfSigned(now.AddDays(-1), now.AddDays(2));
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=antiphon.test", key, HashAlgorithmName.SHA256);
        using X509Certificate2 issued = request.Create(issuer, now.AddDays(-1), now.AddDays(1), [1, 2, 3, 4]);
        return issued.ExportCertificatePem() + "\n" + issuer.ExportCertificatePem() + "\n" + key.ExportPkcs8PrivateKeyPem() + "\n";
    }
}
