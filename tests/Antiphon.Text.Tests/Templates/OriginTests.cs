using static Antiphon.Text.Tests.Templates.TemplateTesting;

namespace Antiphon.Text.Tests.Templates;

public sealed class OriginTests
{
    private const string Variables = """{"c": "  <|im_end|> x  ", "d": {"k": "v\"", "n": 1}, "l": ["a", "b"]}""";

    [Theory]
    [InlineData("<|im_start|>{{ c }}<|im_end|>", "<|im_start|>⟦  <|im_end|> x  ⟧<|im_end|>")]
    [InlineData("{{ '<' ~ c|trim ~ '>' }}", "<⟦<|im_end|> x⟧>")]
    [InlineData("{{ ('<' + c + '>')[1:8] }}", "⟦  <|im_⟧")]
    [InlineData("{{ 'a-b'.replace('-', c.strip()) }}", "a⟦<|im_end|> x⟧b")]
    [InlineData("{{ c.strip().replace('x', '</s>') }}", "⟦<|im_end|> ⟧</s>")]
    [InlineData("{{ l|join(', ') }}", "⟦a⟧, ⟦b⟧")]
    [InlineData("{{ d|tojson }}", "{\"⟦k⟧\": \"⟦v\\\"⟧\", \"⟦n⟧\": 1}")]
    [InlineData("{{ d }}", "{'⟦k⟧': '⟦v\"⟧', '⟦n⟧': 1}")]
    [InlineData("{{ 'x%sy' % l[0] }}{{ 'p{}q'.format(l[1]) }}", "x⟦a⟧yp⟦b⟧q")]
    [InlineData("{{ c.split('|')[1] }}", "⟦im_end⟧")]
    [InlineData("{{ c|upper|trim }}", "⟦<|IM_END|> X⟧")]
    [InlineData("{% set s %}<{{ l[0] }}>{% endset %}{{ s|upper }}", "⟦<A>⟧")]
    [InlineData("{% macro m(t) %}[{{ t }}]{% endmacro %}{{ m(l[0]) }}", "[⟦a⟧]")]
    [InlineData("{{ ('ab' ~ l[0])|reverse }}{{ l[0]|center(3) }}{{ (l[0] ~ '\n' ~ 'z')|indent(1) }}", "⟦a⟧ba ⟦a⟧ ⟦a⟧\n z")]
    [InlineData("{{ l[0] * 3 }}{{ ('-' ~ l[0]) * 2 }}", "⟦aaa⟧-⟦a⟧-⟦a⟧")]
    [InlineData("{{ '<'|e }}{{ ('&' ~ l[0])|e }}", "&lt;&amp;⟦a⟧")]
    public void Follows_text_through_operations(string source, string expected) => Assert.Equal(expected, Marked(Prompt(source, Variables)));

    [Fact]
    public void Text_of_a_user_stays_input_and_special_tokens_are_trusted()
    {
        ChatTemplate template = ChatTemplate.Compile("{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}");
        RenderedPrompt prompt = template.Render(new()
        {
            Messages = [new ChatMessage("user", "hi<|im_end|>").ToTemplateValue(), new ChatMessage("<|odd|>", "x").ToTemplateValue()],
            Variables = new Dictionary<string, TemplateValue> { ["bos_token"] = TemplateValue.Trusted("<s>") },
        });
        Assert.Equal("<s><|im_start|>user\n⟦hi<|im_end|>⟧<|im_end|>\n<|im_start|>⟦<|odd|>⟧\n⟦x⟧<|im_end|>\n", Marked(prompt));
    }

    [Fact]
    public void A_final_message_is_continued()
    {
        ChatTemplate template = ChatTemplate.Compile("{% for m in messages %}<{{ m.role }}>{{ m.content|trim }}</s>{% endfor %}{{ 'x' if add_generation_prompt }}");
        TemplateValue[] messages = [new ChatMessage("user", "a").ToTemplateValue(), new ChatMessage("assistant", "b c ").ToTemplateValue()];
        Assert.Equal("<user>⟦a⟧</s><assistant>⟦b c⟧", Marked(template.Render(new() { Messages = messages, ContinueFinalMessage = "content" })));
        Assert.Equal(TemplateErrorKind.Input, Refused(new() { Messages = messages, ContinueFinalMessage = "content", AddGenerationPrompt = true }));
        Assert.Equal(TemplateErrorKind.Input, Refused(new() { Messages = messages, ContinueFinalMessage = "reasoning_content" }));
        Assert.Equal(TemplateErrorKind.Input, Refused(new() { Messages = [] }));
        Assert.Equal(TemplateErrorKind.Input, Refused(new() { Messages = [TemplateValue.Of(true)] }));

        TemplateErrorKind Refused(ChatTemplateInput input) => Assert.Throws<TemplateException>(() => template.Render(input)).Kind;
    }

    [Fact]
    public void Reasoning_has_three_names_and_nulls_are_dropped()
    {
        ChatTemplate template = ChatTemplate.Compile("{{ messages[0] }}");
        TemplateValue message = TemplateValue.FromJson("""{"role": "assistant", "content": null, "reasoning": "r"}"""u8.ToArray());
        Assert.Equal("{'thinking': 'r', 'role': 'assistant', 'reasoning': 'r', 'reasoning_content': 'r'}", template.Render(new() { Messages = [message] }).Text);
        Assert.Equal(
            "{'thinking': 'r', 'role': 'assistant', 'content': None, 'reasoning': 'r', 'reasoning_content': 'r'}",
            template.Render(new() { Messages = [message], KeepNulls = true }).Text);
    }
}
