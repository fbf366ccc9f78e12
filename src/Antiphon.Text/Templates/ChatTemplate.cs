namespace Antiphon.Text;

/// <summary>
/// A chat template: a program in the Jinja language that comes with a model and turns a conversation into the text the model was trained on.
/// Compiled once, rendered from any number of threads.
/// </summary>
public sealed class ChatTemplate
{
    private readonly TemplateLimits _limits;
    private readonly Program _program;

    private ChatTemplate(string source, Program program, TemplateLimits limits) => (Source, _program, _limits) = (source, program, limits);

    /// <summary>The source, as given.</summary>
    public string Source { get; }

    /// <summary>Compiles a template.</summary>
    /// <param name="source">The Jinja source.</param>
    /// <param name="limits">What it may use, or null for <see cref="TemplateLimits.Default"/>.</param>
    /// <exception cref="TemplateException">The source is not a template (kind <see cref="TemplateErrorKind.Syntax"/>), or is too long or too deeply nested.</exception>
    public static ChatTemplate Compile(string source, TemplateLimits? limits = null)
    {
        limits ??= TemplateLimits.Default;
        if (source.Length > limits.MaxSourceLength)
        {
            throw new TemplateException(TemplateErrorKind.Limit, $"the template is longer than {limits.MaxSourceLength} characters");
        }

        return new(source, Parser.Parse(Lexer.Tokenize(source), limits.MaxNesting), limits);
    }

    /// <summary>Renders a conversation.</summary>
    /// <exception cref="TemplateException">The conversation is refused, by the template or before it runs, or the template fails or reaches a limit.</exception>
    public RenderedPrompt Render(ChatTemplateInput input)
    {
        ListValue messages = Conversation.Prepare(input, Source);
        var variables = new Dictionary<string, TemplateValue>(input.Variables.Count + 4)
        {
            ["messages"] = messages,
            ["tools"] = input.Tools ?? TemplateValue.None,
            ["documents"] = input.Documents ?? TemplateValue.None,
            ["add_generation_prompt"] = TemplateValue.Of(input.AddGenerationPrompt),
        };
        foreach ((string name, TemplateValue value) in input.Variables)
        {
            variables[name] = value;
        }

        StringValue text = Execute(variables, input.Clock);
        return Prompt(input.ContinueFinalMessage is { } field ? Conversation.Cut(text, messages, field) : text);
    }

    /// <summary>Renders with nothing but these variables, for tests of the language itself.</summary>
    internal RenderedPrompt RenderWith(IReadOnlyDictionary<string, TemplateValue> variables, DateTime? clock = null) => Prompt(Execute(variables, clock));

    private StringValue Execute(IReadOnlyDictionary<string, TemplateValue> variables, DateTime? clock)
    {
        var run = new Run(_limits, variables, clock);
        Statement.ExecuteAll(_program.Body, _program.Scope.NewFrame(null), run);
        return run.Output.ToValue();
    }

    private static RenderedPrompt Prompt(StringValue text)
    {
        var segments = new List<PromptSegment>(text.Origin.Flips.Length + 1);
        int from = 0;
        bool isInput = text.Origin.StartsAsInput;
        foreach (int flip in text.Origin.Flips)
        {
            segments.Add(new(from, flip - from, isInput));
            from = flip;
            isInput = !isInput;
        }

        if (from < text.Text.Length)
        {
            segments.Add(new(from, text.Text.Length - from, isInput));
        }

        return new(text.Text, segments);
    }
}
