using System.Text;

namespace Antiphon.Text;

/// <summary>The <c>normalizer</c> of a <c>tokenizer.json</c>.</summary>
internal static class JsonNormalizers
{
    public static Normalizer? Read(JsonComponent component) => component.IsNull ? null : component.Type switch
    {
        "Sequence" => component.Items("normalizers").Select(Read).OfType<Normalizer>().ToArray() switch
        {
            [] => null,
            [Normalizer only] => only,
            Normalizer[] steps => new Normalizer.Sequence(steps),
        },
        "NFC" => new Normalizer.Form(NormalizationForm.FormC),
        "NFD" => new Normalizer.Form(NormalizationForm.FormD),
        "NFKC" => new Normalizer.Form(NormalizationForm.FormKC),
        "NFKD" => new Normalizer.Form(NormalizationForm.FormKD),
        "Lowercase" => new Normalizer.Lowercase(),
        "StripAccents" => new Normalizer.StripAccents(),
        "Strip" => new Normalizer.Strip(component.Flag("strip_left", true), component.Flag("strip_right", true)),
        "Prepend" => new Normalizer.Prepend(component.Text("prepend")),
        "Replace" => ReadReplace(component),
        string other => throw component.NotSupported($"normalizer {other}"),
    };

    /// <summary>A replacement of a text or a pattern, which decoders have too.</summary>
    public static Normalizer ReadReplace(JsonComponent component) =>
        component.Child("pattern").OptionalText("String") is { Length: > 0 } literal
            ? new Normalizer.ReplaceText(literal, component.Text("content"))
            : new Normalizer.Replace(component.Pattern(), component.Text("content"));
}
