namespace Antiphon.Engine.Tests;

/// <summary>Stop strings across all borders.</summary>
public class StopStringTests
{
    /// <summary>The rule, read off one character at a time.</summary>
    private static (string Text, string? Stop) Reference(string text, string[] stops)
    {
        for (int end = 1; end <= text.Length; end++)
        {
            string? stop = stops.Where(one => text[..end].EndsWith(one, StringComparison.Ordinal)).MaxBy(one => one.Length);
            if (stop is not null)
            {
                return (text[..(end - stop.Length)], stop);
            }
        }

        return (text, null);
    }

    private static (string Text, string? Stop) Filter(IEnumerable<string> pieces, string[] stops, string whole)
    {
        StopFilter filter = new(stops);
        string text = "";
        foreach (string piece in pieces)
        {
            text += filter.Append(piece);
            Assert.StartsWith(text, Reference(whole, stops).Text);
            if (filter.Found is not null)
            {
                return (text, filter.Found);
            }
        }

        return (text + filter.Flush(), null);
    }

    [Fact]
    public void Every_cut_gives_the_same()
    {
        foreach ((string text, string[] stops) in new (string, string[])[]
        {
            ("hello stop!", ["stop"]), ("aaab", ["aab"]), ("xabcab", ["abd", "cab"]), ("ab\n\nUser:", ["\n\nUser:", "\nAI"]), ("abcabcabd", ["abcabd"]),
            ("é😀é!", ["😀é"]), ("nothing st", ["stop"]), ("xabc", ["abc", "b"]), ("xabc", ["bc", "abc"]), ("", ["a"]),
        })
        {
            for (int cuts = 0; cuts < 1 << Math.Max(0, text.Length - 1); cuts++)
            {
                List<string> pieces = [];
                int from = 0;
                for (int i = 1; i < text.Length; i++)
                {
                    if ((cuts >> (i - 1) & 1) != 0)
                    {
                        pieces.Add(text[from..i]);
                        from = i;
                    }
                }

                pieces.Add(text[from..]);
                Assert.Equal(Reference(text, stops), Filter(pieces, stops, text));
            }
        }
    }

    [Fact]
    public void Random_texts_and_stops_agree_with_the_reference()
    {
        Random random = new(3);
        for (int round = 0; round < 5000; round++)
        {
            string Make(int longest) => new([.. Enumerable.Range(0, random.Next(1, longest + 1)).Select(_ => "ab"[random.Next(2)])]);
            string[] stops = [.. Enumerable.Range(0, random.Next(1, 4)).Select(_ => Make(6))];
            List<string> pieces = [.. Enumerable.Range(0, random.Next(1, 12)).Select(_ => Make(4))];
            string whole = string.Concat(pieces);
            Assert.Equal(Reference(whole, stops), Filter(pieces, stops, whole));
        }
    }

    [Theory]
    [InlineData(new[] { 1, 2, 3, 4, 5, 6 }, "😀", "")] // single bytes of the character
    [InlineData(new[] { 7, 5, 6, 7 }, "é", "a")]
    [InlineData(new[] { 7, 5, 7, 7 }, "é", "a\ufffdaa")] // half a character that never completes
    [InlineData(new[] { 7, 5 }, "é", "a\ufffd")]
    [InlineData(new[] { 21, 22, 7 }, "stop!", "stoa")]
    public async Task The_engine_never_leaks_a_stop_string(int[] script, string stop, string expected)
    {
        // 21 is "sto", 22 "p!" in the small vocabulary: look them up, so that the script says what it means.
        FakeText text = EngineTests.Text;
        int[] tokens = [.. script.Select(token => token switch { 21 => text.Token("sto"), 22 => text.Token("a"), _ => token })];
        using FakeBackend backend = new();
        backend.OnLogits = (_, row, logits) => logits[tokens[row]] = 100;
        await using InferenceEngine engine = EngineTests.Engine(backend);
        string streamed = "";
        await foreach (GenerationEvent item in engine.Submit(EngineTests.Request(9) with { MaxTokens = script[0] == 21 ? 2 : tokens.Length, StopStrings = [stop] }))
        {
            streamed += item.Text;
            Assert.Equal(item.FinishReason == FinishReason.Stop ? stop : null, item.StopString);
        }

        Assert.Equal(expected, streamed);
    }

    [Fact]
    public async Task A_stop_string_counts_only_behind_the_least_tokens()
    {
        FakeText text = EngineTests.Text;
        using FakeBackend backend = new();
        backend.OnLogits = (_, _, logits) => logits[text.Token("stop")] = 100;
        await using InferenceEngine engine = EngineTests.Engine(backend);
        GenerationChoice choice = (await engine.Submit(EngineTests.Request(9) with { MinTokens = 3, StopStrings = ["stop"] }).CompleteAsync()).Choices[0];
        Assert.Equal(("stopstopstop", 4, FinishReason.Stop), (choice.Text, choice.Tokens.Count, choice.FinishReason));
    }
}
