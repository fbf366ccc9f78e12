using System.Buffers.Binary;
using System.Text;
using Antiphon.Testing;

namespace Antiphon.Cli.Tests;

/// <summary>What is wrong is said in one line with what to do next; the exit code tells; nothing is printed as a result, nothing half-written.</summary>
public sealed class BadInputTests
{
    public static TheoryData<string> Commands => ["run", "chat", "info", "tokenize", "render", "perplexity", "bench"];

    [Theory]
    [MemberData(nameof(Commands))]
    public async Task A_missing_file_is_named(string command)
    {
        CommandRun run = await RunWith(command, "/nowhere/model.gguf");
        run.AssertFailed(1, "/nowhere/model.gguf", "no such file", "check the path");
    }

    [Fact]
    public async Task A_folder_without_config_is_refused()
    {
        using var folder = new TemporaryFolder();
        folder.Write("notes.txt", "nothing");
        CommandRun run = await RunWith("run", folder.Folder);
        run.AssertFailed(1, folder.Folder, "config.json");
    }

    [Fact]
    public async Task An_unsupported_architecture_is_named()
    {
        using var folder = new TemporaryFolder();
        string path = folder.Write("model.gguf", TalesFile.With("qwen3", "zzzz9"));
        (await RunWith("run", path)).AssertFailed(1, "zzzz9", "not supported");
    }

    [Fact]
    public async Task An_unknown_tensor_type_is_named()
    {
        using var folder = new TemporaryFolder();
        byte[] bytes = TalesFile.Bytes();
        byte[] name = Encoding.UTF8.GetBytes("token_embd.weight");
        int at = bytes.AsSpan().IndexOf(name) + name.Length;
        int dimensions = BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(at));
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(at + 4 + (8 * dimensions)), 4321);
        (await RunWith("info", folder.Write("model.gguf", bytes))).AssertFailed(1, "token_embd.weight", "4321");
    }

    [Fact]
    public async Task A_vocabulary_larger_than_the_weights_is_refused()
    {
        using var folder = new TemporaryFolder();
        byte[] bytes = TalesFile.Bytes();
        byte[] name = Encoding.UTF8.GetBytes("token_embd.weight");
        int at = bytes.AsSpan().IndexOf(name) + name.Length + 4 + 8;
        Assert.Equal(2048, BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(at)));
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(at), 1024);
        (await RunWith("run", folder.Write("model.gguf", bytes))).AssertFailed(1, "2048");
    }

    [Theory]
    [InlineData(3)]
    [InlineData(20)]
    [InlineData(1000)]
    [InlineData(60_000)]
    [InlineData(3_000_000)]
    public async Task A_truncated_file_is_refused(int length)
    {
        using var folder = new TemporaryFolder();
        string path = folder.Write("model.gguf", TalesFile.Bytes()[..length]);
        (await RunWith("run", path)).AssertFailed(1, "model.gguf");
    }

    [Fact]
    public async Task Counts_past_the_end_are_refused()
    {
        using var folder = new TemporaryFolder();
        byte[] bytes = TalesFile.Bytes();
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(8), long.MaxValue / 2);
        (await RunWith("run", folder.Write("model.gguf", bytes))).AssertFailed(1, "model.gguf");
    }

    [Fact]
    public async Task A_prompt_longer_than_the_context_is_refused_with_both_numbers()
    {
        CommandRun run = await CommandRun.Of("run", string.Concat(Enumerable.Repeat("the fox and the river ", 400)), "--context", "128");
        run.AssertFailed(1, "128", "tokens", "shorten the prompt");
    }

    [Theory]
    [InlineData("run", "--tempature", "1", "hi")]
    [InlineData("run", "hi", "--temperature", "-1")]
    [InlineData("run", "hi", "--top-p", "0")]
    [InlineData("run", "hi", "--top-p", "NaN")]
    [InlineData("run", "hi", "--seed", "many")]
    [InlineData("run", "hi", "--max-tokens", "0")]
    [InlineData("run", "hi", "--threads", "0")]
    [InlineData("run", "hi", "--precision", "half")]
    [InlineData("run", "hi", "--kv-format", "q8")]
    [InlineData("run", "a", "b", "c")]
    [InlineData("perplexity")]
    [InlineData("bench", "--batch", "1,x")]
    [InlineData("bench", "--lengths", "4096")]
    [InlineData("frobnicate")]
    public async Task A_wrong_command_line_is_a_usage_error(params string[] args)
    {
        CommandRun run = await CommandRun.Of(args);
        run.AssertFailed(2);
    }

    [Fact]
    public async Task A_mistyped_option_gets_a_suggestion() =>
        (await CommandRun.Of("run", "--tempature", "1", "hi")).AssertFailed(2, "--tempature", "--temperature");

    [Theory]
    [InlineData("{")]
    [InlineData("42")]
    [InlineData("[{\"content\":\"no role\"}]")]
    public async Task Messages_that_are_none_are_refused(string json)
    {
        using var folder = new TemporaryFolder();
        (await CommandRun.Of("render", folder.Write("m.json", json))).AssertFailed(1, "m.json");
    }

    [Fact]
    public async Task A_conversation_that_the_template_refuses_says_so()
    {
        using var folder = new TemporaryFolder();
        string file = folder.Write("m.json", """[{"role":"wizard","content":"x"}]""");
        (await CommandRun.Of("render", file)).AssertFailed(1, "Tales knows the roles");
    }

    [Fact]
    public async Task A_text_shorter_than_a_window_is_refused()
    {
        using var folder = new TemporaryFolder();
        (await CommandRun.Of("perplexity", folder.Write("t.txt", "short"))).AssertFailed(1, "512", "longer text");
    }

    [Fact]
    public async Task Comparing_with_something_else_is_refused()
    {
        using var folder = new TemporaryFolder();
        (await CommandRun.Of("bench", "--compare", folder.Write("b.json", "{}"))).AssertFailed(1, "b.json", "--compare");
    }

    private static Task<CommandRun> RunWith(string command, string model) => command switch
    {
        "chat" or "info" or "bench" => CommandRun.Of(command, model),
        "render" => CommandRun.Of([command, model, "-"], """[{"role":"user","content":"hi"}]"""),
        "perplexity" => CommandRun.Of(command, model, typeof(BadInputTests).Assembly.Location),
        _ => CommandRun.Of(command, model, "hi"),
    };
}
