using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Antiphon.Kernels;
using Antiphon.Kernels.MultiScale;
using Antiphon.Kernels.Packed;
using Antiphon.Testing;

namespace Antiphon.Cli.Tests;

/// <summary>Each command on Tales.</summary>
public sealed class CommandTests
{
    [Fact]
    public async Task Run_tells_a_story_that_fits_the_prompt()
    {
        CommandRun run = await CommandRun.Of("run", "Tell me a story about a fox and a river.", "--temperature", "0");
        run.AssertSucceeded();
        Assert.Contains("fox", run.Out, StringComparison.OrdinalIgnoreCase);
        Assert.Contains("river", run.Out, StringComparison.OrdinalIgnoreCase);
        Assert.Equal(4, run.Out.Trim().Split("\n\n").Length);
        Assert.DoesNotContain('\u001b', run.Out);
        Assert.Equal("", run.Error);
    }

    [Fact]
    public async Task Run_gives_the_same_answer_for_the_same_seed()
    {
        string[] args = ["run", "Tell me a story about a crow and a lamp.", "--seed", "7", "--max-tokens", "40"];
        CommandRun first = await CommandRun.Of(args);
        first.AssertSucceeded();
        Assert.Equal(first.Out, (await CommandRun.Of(args)).Out);
        Assert.NotEqual(first.Out, (await CommandRun.Of(["run", "Tell me a story about a crow and a lamp.", "--seed", "8", "--max-tokens", "40"])).Out);
    }

    [Fact]
    public async Task Run_takes_the_prompt_from_standard_input_and_stops_at_a_stop_text()
    {
        CommandRun run = await CommandRun.Of(["run", "-", "--temperature", "0", "--stop", "\n\n"], "Tell me a story about a fox and a river.\n");
        run.AssertSucceeded();
        Assert.DoesNotContain("\n\n", run.Out);
        Assert.Contains("fox", run.Out, StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public async Task Run_writes_no_thoughts_where_results_are_redirected()
    {
        CommandRun run = await CommandRun.Of("run", "Calculate 3 - 2.", "--temperature", "0");
        run.AssertSucceeded();
        Assert.Equal("The answer is 1.\n", run.Out);
    }

    [Fact]
    public async Task Chat_keeps_the_conversation_and_saves_and_loads_it()
    {
        using var folder = new TemporaryFolder();
        string file = folder["chat.json"];
        CommandRun run = await CommandRun.Of(["chat", "--temperature", "0"], $"Hello!\n/stats\n/save {file}\n/reset\n/load {file}\n/frob\n/exit\nnever read\n");
        run.AssertSucceeded();
        Assert.Equal("Hello! Would you like a story or a sum?\n", run.Out);
        Assert.Contains("tokens/s", run.Error);
        Assert.Contains("2 messages written", run.Error);
        Assert.Contains("2 messages read", run.Error);
        Assert.Contains("/frob is no command", run.Error);
        using JsonDocument saved = JsonDocument.Parse(File.ReadAllText(file));
        Assert.Equal("Hello!", saved.RootElement[0].GetProperty("content").GetString());
        Assert.Equal(["chat.json"], folder.Files);
    }

    [Fact]
    public async Task Chat_goes_on_after_a_message_that_cannot_be_answered()
    {
        CommandRun run = await CommandRun.Of(["chat", "--temperature", "0", "--context", "128"], string.Concat(Enumerable.Repeat("the fox ", 300)) + "\nHello!\n");
        run.AssertSucceeded();
        Assert.Contains("context holds 128", run.Error);
        Assert.Equal("Hello! Would you like a story or a sum?\n", run.Out);
    }

    [Fact]
    public async Task Info_shows_metadata_tensors_and_memory()
    {
        CommandRun run = await CommandRun.Of("info");
        run.AssertSucceeded();
        Assert.Contains("general.architecture", run.Out);
        Assert.Contains("token_embd.weight", run.Out);
        Assert.Contains("2048 x 256", run.Out);
        Assert.Contains("together", run.Out);
    }

    [Fact]
    public async Task Tokenize_and_its_ids_agree_and_special_tokens_are_text_unless_asked()
    {
        CommandRun plain = await CommandRun.Of("tokenize", "a<|im_end|>", "--ids");
        CommandRun special = await CommandRun.Of("tokenize", "a<|im_end|>", "--ids", "--special");
        Assert.DoesNotContain("2041", plain.Out);
        Assert.EndsWith(" 2041\n", special.Out);
        CommandRun table = await CommandRun.Of("tokenize", "a<|im_end|>");
        Assert.Equal(plain.Out.Split(' ').Length, table.Out.Trim('\n').Split('\n').Length - 1);
    }

    [Fact]
    public async Task Render_gives_the_prompt_and_nothing_else()
    {
        CommandRun run = await CommandRun.Of(["render", "-"], """[{"role":"user","content":"Hello!"}]""");
        run.AssertSucceeded();
        Assert.Equal("<|im_start|>user\nHello!<|im_end|>\n<|im_start|>assistant\n", run.Out);
        CommandRun without = await CommandRun.Of(["render", "-", "--no-thinking"], """{"messages":[{"role":"user","content":"Hello!"}]}""");
        Assert.EndsWith("<think>\n\n</think>\n\n", without.Out);
    }

    [Fact]
    public async Task Perplexity_of_a_story_is_low_and_of_noise_high()
    {
        using var folder = new TemporaryFolder();
        CommandRun story = await CommandRun.Of("run", "Tell me a story about a fox and a river.", "--temperature", "0");
        string told = folder.Write("story.txt", string.Concat(Enumerable.Repeat(story.Out, 3)));
        string noise = folder.Write("noise.txt", string.Concat(Enumerable.Range(0, 600).Select(i => (char)('a' + (i * i * 31 % 26)))));
        double low = await Perplexity(told);
        double high = await Perplexity(noise);
        Assert.InRange(low, 1, 5);
        Assert.True(high > 10 * low, $"{low} against {high}");

        static async Task<double> Perplexity(string file)
        {
            CommandRun run = await CommandRun.Of("perplexity", file, "--window", "128", "--json");
            run.AssertSucceeded();
            using JsonDocument result = JsonDocument.Parse(run.Out);
            double value = result.RootElement.GetProperty("perplexity").GetDouble();
            Assert.InRange(value, result.RootElement.GetProperty("low").GetDouble(), result.RootElement.GetProperty("high").GetDouble());
            return value;
        }
    }

    [Fact]
    public async Task Bench_measures_and_compares_with_its_own_json()
    {
        using var folder = new TemporaryFolder();
        string[] args = ["bench", "--lengths", "16", "--context-depths", "0,20", "--batch", "1,2", "--threads", "1,2", "--decode", "4", "--repeat", "2"];
        CommandRun first = await CommandRun.Of([.. args, "--json"]);
        first.AssertSucceeded();
        using JsonDocument report = JsonDocument.Parse(first.Out);
        Assert.Equal(2 * (1 + (2 * 2)), report.RootElement.GetProperty("rows").GetArrayLength());
        Assert.All(report.RootElement.GetProperty("rows").EnumerateArray(), row =>
        {
            Assert.True(row.GetProperty("tokens_per_second").GetDouble() > 0);
            Assert.True(row.GetProperty("limit_share").GetDouble() > 0);
            Assert.Equal(2, row.GetProperty("runs").GetArrayLength());
        });
        Assert.All(report.RootElement.GetProperty("limits").EnumerateArray(), limit => Assert.True(limit.GetProperty("read_bytes_per_second").GetDouble() > 1e8));
        CommandRun second = await CommandRun.Of([.. args, "--compare", folder.Write("before.json", first.Out)]);
        second.AssertSucceeded();
        Assert.Contains("tok/s then", second.Out);
        Assert.Contains('%', second.Out);
    }

    [Fact]
    public async Task Doctor_names_kernels_and_memory()
    {
        CommandRun run = await CommandRun.Of("doctor", "--quick");
        run.AssertSucceeded();
        Assert.Contains("kernels", run.Out);
        Assert.Contains("memory", run.Out);
        Assert.Contains("generated code", run.Out);
        bool generates = PackedKernels.TryCreate(null, out PackedKernels? kernels, out string? reason);
        kernels?.Dispose();
        using MultiScaleKernels integers = new();
        Assert.Contains(generates || integers.IsGenerated ? "executable memory is granted" : integers.Reason ?? reason!, run.Out);
        Assert.Equal(generates || integers.IsGenerated, run.Out.Contains("instructions", StringComparison.Ordinal));
        Assert.Equal(integers.IsGenerated, run.Out.Contains("multiply integers", StringComparison.Ordinal));
        using PagedAttention attention = new(null, fast: true);
        AttentionShape shape = new() { QueryHeads = 1, KeyValueHeads = 1, KeySize = 128, ValueSize = 128, Scale = 1 };
        Assert.Equal(attention.Generated(shape).Count > 0, run.Out.Contains("attention", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Doctor_says_that_a_program_leaves_out_what_the_processor_has()
    {
        Assert.SkipUnless(CpuFeatures.Current.BestTier >= KernelTier.Avx2, "this processor has no AVX2");
        var start = new ProcessStartInfo("dotnet", [typeof(AntiphonCommand).Assembly.Location, "doctor", "--quick"]) { RedirectStandardOutput = true };
        start.Environment["DOTNET_EnableAVX2"] = "0";
        start.Environment.Remove(CpuFeatures.TierVariable);
        using Process process = Process.Start(start)!;
        string text = await process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.Equal(0, process.ExitCode);
        Assert.Contains("leaves out AVX2", text);
        Assert.DoesNotContain("leaves out AVX2", (await CommandRun.Of("doctor", "--quick")).Out);
    }

    [Fact]
    public async Task Doctor_measures_peaks()
    {
        CommandRun run = await CommandRun.Of("doctor");
        run.AssertSucceeded();
        Assert.Contains("read bandwidth", run.Out);
        Assert.Contains("float32 FMA", run.Out);
        Assert.Contains("Top/s", run.Out);
    }

    [Theory]
    [InlineData("run")]
    [InlineData("chat")]
    [InlineData("info")]
    [InlineData("tokenize")]
    [InlineData("render")]
    [InlineData("perplexity")]
    [InlineData("bench")]
    [InlineData("doctor")]
    [InlineData("make-model")]
    public async Task Help_of_every_command_ends_with_examples(string command)
    {
        CommandRun run = await CommandRun.Of(command, "--help");
        run.AssertSucceeded();
        Assert.Contains("Examples:\n  ", run.Out);
        Assert.Contains($"antiphon {command}", run.Out[run.Out.IndexOf("Examples:", StringComparison.Ordinal)..]);
        Assert.DoesNotContain("...]", run.Out);
    }

    [Fact]
    public async Task Without_a_command_the_help_is_shown() => Assert.Contains("Commands:", (await CommandRun.Of()).Out);

    [Fact]
    public async Task A_cancelled_run_ends_with_130()
    {
        using var stop = new CancellationTokenSource(TimeSpan.FromMilliseconds(300));
        CommandRun run = await CommandRun.Of(["run", "Tell me a story about a fox and a river.", "--stop", "\u0001"], "", stop.Token);
        Assert.True(run.ExitCode is 130 or 0, run.Error);
        Assert.Equal("", run.Error);
        using var stopped = new CancellationTokenSource();
        await stopped.CancelAsync();
        Assert.Equal(130, (await CommandRun.Of(["run", "Tell me a story."], "", stopped.Token)).ExitCode);
    }

    [Fact]
    public void Sizes_read_well()
    {
        Assert.Equal("3.79 MiB", Sizes.Bytes(3976576));
        Assert.Equal("3.7 M", Sizes.Count(3_700_000));
        Assert.Equal("512 B", Sizes.Bytes(512).ToString(CultureInfo.InvariantCulture));
    }
}
