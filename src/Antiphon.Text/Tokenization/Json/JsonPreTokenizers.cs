namespace Antiphon.Text;

/// <summary>The <c>pre_tokenizer</c> of a <c>tokenizer.json</c>.</summary>
internal static class JsonPreTokenizers
{
    // Rust's \w: number letters, circled letters and joiners are words too.
    private const string Word = @"\w\p{Nl}\u24B6-\u24E9\u200C\u200D\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189}";

    /// <param name="component">The component, or nothing.</param>
    /// <param name="byteLevel">Set when the model gets bytes as stand-in characters.</param>
    public static PreTokenizer? Read(JsonComponent component, ref bool byteLevel)
    {
        if (component.IsNull)
        {
            return null;
        }

        if (byteLevel)
        {
            throw component.NotSupported("a pre-tokenizer after ByteLevel");
        }

        switch (component.Type)
        {
            case "Sequence":
                var steps = new List<PreTokenizer>();
                foreach (JsonComponent item in component.Items("pretokenizers"))
                {
                    if (Read(item, ref byteLevel) is { } step)
                    {
                        steps.Add(step);
                    }
                }

                return new PreTokenizer.Sequence(steps);
            case "Split":
                return new PreTokenizer.Split(component.Pattern(), ReadBehavior(component), component.Flag("invert", false));
            case "Digits":
                return new PreTokenizer.Split(
                    new(@"\p{N}"), component.Flag("individual_digits", false) ? PreTokenizer.Behavior.Isolated : PreTokenizer.Behavior.Contiguous);
            case "Punctuation":
                return new PreTokenizer.Split(new(@"[!-/:-@\[-`{-~\p{P}]"), ReadBehavior(component));
            case "Whitespace":
                return new PreTokenizer.Split(new($@"[{Word}]+|[^{Word}\s]+"), PreTokenizer.Behavior.Removed, invert: true);
            case "WhitespaceSplit":
                return new PreTokenizer.Split(new(@"\s"), PreTokenizer.Behavior.Removed);
            case "CharDelimiterSplit":
                return new PreTokenizer.Split(SplitPattern.Literal(component.Text("delimiter")), PreTokenizer.Behavior.Removed);
            case "Metaspace":
                return ReadMetaspace(component);
            case "ByteLevel":
                byteLevel = true;
                PreTokenizer?[] parts =
                [
                    component.Flag("add_prefix_space", true) ? new PreTokenizer.PrefixSpace() : null,
                    component.Flag("use_regex", true) ? new PreTokenizer.Split(new(KnownPatterns.Gpt2), PreTokenizer.Behavior.Isolated) : null,
                ];
                return new PreTokenizer.Sequence([.. parts.OfType<PreTokenizer>()]);
            default:
                throw component.NotSupported($"pre-tokenizer {component.Type}");
        }
    }

    /// <summary>Where Metaspace puts a space of its own; older files have a flag for it.</summary>
    public static PreTokenizer.Metaspace.Scheme ReadScheme(JsonComponent component) => component.OptionalText("prepend_scheme") switch
    {
        "always" => PreTokenizer.Metaspace.Scheme.Always,
        "first" => PreTokenizer.Metaspace.Scheme.First,
        "never" => PreTokenizer.Metaspace.Scheme.Never,
        null => component.Flag("add_prefix_space", true) ? PreTokenizer.Metaspace.Scheme.Always : PreTokenizer.Metaspace.Scheme.Never,
        string other => throw component.NotSupported($"prepend_scheme {other}"),
    };

    private static PreTokenizer.Metaspace ReadMetaspace(JsonComponent component) =>
        new(component.Character("replacement"), ReadScheme(component), component.Flag("split", true));

    private static PreTokenizer.Behavior ReadBehavior(JsonComponent component)
    {
        string name = component.Text("behavior");
        return Enum.TryParse(name, out PreTokenizer.Behavior behavior) && Enum.IsDefined(behavior) ? behavior : throw component.NotSupported($"behavior {name}");
    }
}
