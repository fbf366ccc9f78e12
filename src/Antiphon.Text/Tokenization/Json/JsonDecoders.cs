namespace Antiphon.Text;

/// <summary>The <c>decoder</c> of a <c>tokenizer.json</c>.</summary>
internal static class JsonDecoders
{
    public static DecoderSettings Read(JsonComponent component)
    {
        if (component.IsNull)
        {
            return new() { Steps = [new PieceStep.Spaced()] };
        }

        var settings = new DecoderSettings();
        var steps = new List<PieceStep>();
        bool bytes = false;
        bool fused = false;
        foreach (JsonComponent step in Flatten(component))
        {
            string type = step.Type;
            if (settings.ByteLevel || (bytes && type is not "Fuse" && !fused) || (fused && type is not ("Strip" or "Fuse")) || settings.StripStart > 0)
            {
                throw step.NotSupported($"decoder {type} in this place");
            }

            switch (type)
            {
                case "ByteLevel":
                    settings = settings with { ByteLevel = true };
                    break;
                case "ByteFallback":
                    settings = settings with { ByteFallback = true };
                    bytes = true;
                    break;
                case "Fuse":
                    fused = true;
                    break;
                case "Replace":
                    steps.Add(new PieceStep.Replace(JsonNormalizers.ReadReplace(step)));
                    break;
                case "Metaspace":
                    steps.Add(new PieceStep.Metaspace(step.Character("replacement"), JsonPreTokenizers.ReadScheme(step) != PreTokenizer.Metaspace.Scheme.Never));
                    break;
                case "Strip" when !fused:
                    steps.Add(new PieceStep.Strip(step.Character("content"), step.Number("start"), step.Number("stop")));
                    break;
                case "Strip" when step.Number("stop") == 0:
                    settings = settings with { StripStart = step.Number("start"), StripContent = step.Character("content") };
                    break;
                default:
                    throw step.NotSupported($"decoder {type}");
            }
        }

        return settings with { Steps = steps };
    }

    // JSON is at most 64 deep, so the recursion is too.
    private static IEnumerable<JsonComponent> Flatten(JsonComponent component) =>
        component.Type == "Sequence" ? component.Items("decoders").SelectMany(Flatten) : [component];
}
