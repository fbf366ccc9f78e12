namespace Antiphon.Text;

/// <summary>The <c>post_processor</c> of a <c>tokenizer.json</c>: which ids stand before and after a single text.</summary>
internal static class JsonPostProcessors
{
    public static (int[] Before, int[] After) Read(JsonComponent component)
    {
        if (component.IsNull)
        {
            return ([], []);
        }

        switch (component.Type)
        {
            case "ByteLevel":
                return ([], []);
            case "Sequence":
                (int[] before, int[] after) = ([], []);
                foreach (JsonComponent item in component.Items("processors"))
                {
                    (int[] outerBefore, int[] outerAfter) = Read(item);
                    (before, after) = ([.. outerBefore, .. before], [.. after, .. outerAfter]);
                }

                return (before, after);
            case "RobertaProcessing" or "BertProcessing":
                return ([Id(component, "cls")], [Id(component, "sep")]);
            case "TemplateProcessing":
                return ReadTemplate(component);
            default:
                throw component.NotSupported($"post-processor {component.Type}");
        }
    }

    private static int Id(JsonComponent component, string name) =>
        component.Items(name).ToArray() is [_, JsonComponent id] ? id.AsNumber() : throw component.Child(name).Bad("is not a token with its id");

    private static (int[] Before, int[] After) ReadTemplate(JsonComponent component)
    {
        var before = new List<int>();
        var after = new List<int>();
        bool passed = false;
        foreach (JsonComponent piece in component.Items("single"))
        {
            JsonComponent token = piece.Child("SpecialToken");
            if (token.IsNull)
            {
                if (passed || piece.Child("Sequence").Text("id") != "A")
                {
                    throw piece.NotSupported("a template for one text that is not one sequence A");
                }

                passed = true;
                continue;
            }

            JsonComponent definition = component.Child("special_tokens").Child(token.Text("id"));
            if (definition.IsNull)
            {
                throw definition.Bad("is missing");
            }

            (passed ? after : before).AddRange(definition.Items("ids").Select(id => id.AsNumber()));
        }

        return passed ? ([.. before], [.. after]) : throw component.NotSupported("a template without the text");
    }
}
