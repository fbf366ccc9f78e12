using System.Text;

namespace Antiphon.Tests;

public sealed class AnswerParserTests
{
    private const string Call = """<tool_call>{"name": "f", "arguments": {"x": "a</tool_call>b"}}</tool_call>""";

    public static TheoryData<string, string, bool, string> Cases => new()
    {
        { "", "plain text", true, "T:plain text" },
        { "", "<think>\none\n\ntwo\n</think>\n\nanswer", true, "R:one\n\ntwo|T:answer" },
        { "", " \n<think>\none\n</think>\n\nanswer", true, "R:one|T:answer" },
        { "<think>\n", "one\n</think>\n\nanswer", true, "R:one|T:answer" },
        { "", "<think>\n\n</think>\n\nanswer", true, "T:answer" },
        { "", "a <think> in the middle", true, "T:a <think> in the middle" },
        { "", "<thin", true, "T:<thin" },
        { "", "<think>\nnever ends", true, "R:never ends" },
        { "", Call, true, "C:f" },
        { "", Call, false, "T:" + Call },
        { "", $"before\n{Call}\n{Call}\nafter", true, "T:before|C:f|C:f|T:after" },
        { "", $"<think>\nhm\n{Call}\nmore\n</think>\n\n{Call}", true, "R:hm|C:f|R:more|C:f" },
        { "", """<tool_call>{"name": "f", "arguments": "{\"x\": 1}"}""", true, "C:f" },
        { "", "<tool_call>not json</tool_call> and on", true, "T:<tool_call>not json</tool_call> and on" },
        { "", "<tool_call>{\"name\": 3}", true, "T:<tool_call>{\"name\": 3}" },
        { "", "ends with breaks\n\n", true, "T:ends with breaks\n\n" },
        { "", "a < b and a <tool b", true, "T:a < b and a <tool b" },
    };

    [Theory]
    [MemberData(nameof(Cases))]
    public void However_an_answer_is_cut_its_parts_are_the_same(string prompt, string answer, bool tools, string expected)
    {
        Assert.Equal(expected, Parse(prompt, [answer], tools));
        Assert.Equal(expected, Parse(prompt, answer.Select(c => c.ToString()), tools));
        for (int cut = 0; cut <= answer.Length; cut++)
        {
            Assert.Equal(expected, Parse(prompt, [answer[..cut], answer[cut..]], tools));
        }

        var random = new Random(1);
        for (int round = 0; round < 50; round++)
        {
            List<string> pieces = [];
            for (int at = 0; at < answer.Length;)
            {
                int length = Math.Min(random.Next(1, 9), answer.Length - at);
                pieces.Add(answer.Substring(at, length));
                at += length;
            }

            Assert.Equal(expected, Parse(prompt, pieces, tools));
        }
    }

    [Fact]
    public void Text_is_passed_on_as_soon_as_it_is_certain()
    {
        var parser = new AnswerParser("", tools: true);
        List<AnswerPart> parts = [];
        parser.Append("Hello <", parts);
        Assert.Equal("Hello ", Assert.Single(parts).Text);
    }

    private static string Parse(string prompt, IEnumerable<string> pieces, bool tools)
    {
        var parser = new AnswerParser(prompt, tools);
        List<AnswerPart> parts = [];
        foreach (string piece in pieces)
        {
            parser.Append(piece, parts);
        }

        parser.Finish(parts);
        var shown = new StringBuilder();
        AnswerPartKind? last = null;
        foreach (AnswerPart part in parts)
        {
            if (part.Kind == AnswerPartKind.ToolCall)
            {
                shown.Append(shown.Length > 0 ? "|" : "").Append("C:").Append(part.ToolCall!.Name);
                Assert.Equal(System.Text.Json.JsonValueKind.Object, part.ToolCall.Arguments.ValueKind);
            }
            else
            {
                if (part.Kind != last)
                {
                    shown.Append(shown.Length > 0 ? "|" : "").Append(part.Kind == AnswerPartKind.Text ? "T:" : "R:");
                }

                shown.Append(part.Text);
            }

            last = part.Kind;
        }

        return shown.ToString();
    }
}
