#:project ../../src/Antiphon.Models.Tales/Antiphon.Models.Tales.csproj
#:property PublishAot=false
using Antiphon;

await using LanguageModel model = await Tales.LoadAsync();
await foreach (AnswerPart part in model.GenerateAsync(args.Length > 0 ? args[0] : "Tell me a story about an owl and a jar."))
{
    Console.Write(part);
}

Console.WriteLine();
