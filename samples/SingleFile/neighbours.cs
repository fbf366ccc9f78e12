#:project ../../src/Antiphon.Models.Tales/Antiphon.Models.Tales.csproj
#:property PublishAot=false
using Antiphon;
using Microsoft.Extensions.AI;

// Which sentence is nearest to a question? A model that was trained for embeddings does it better: LanguageModel.LoadAsync("Qwen3-Embedding-0.6B").
await using LanguageModel model = await Tales.LoadAsync();
IEmbeddingGenerator<string, Embedding<float>> generator = model.AsEmbeddingGenerator();
string[] sentences =
[
    "The fox ran along the river.",
    "An old witch lived beside the bridge.",
    "Calculate 12 + 7 - 3.",
    "The miller carried a lamp to the mill.",
];
string question = args.Length > 0 ? args[0] : "A witch sat on the old bridge.";
GeneratedEmbeddings<Embedding<float>> vectors = await generator.GenerateAsync([question, .. sentences]);
foreach ((float similarity, string sentence) in sentences
    .Select((s, i) => (Dot(vectors[0].Vector.Span, vectors[i + 1].Vector.Span), s)).OrderByDescending(p => p.Item1))
{
    Console.WriteLine($"{similarity:f3}  {sentence}");
}

// Vectors have length 1, so this is their cosine.
static float Dot(ReadOnlySpan<float> one, ReadOnlySpan<float> other)
{
    float sum = 0;
    for (int i = 0; i < one.Length; i++)
    {
        sum += one[i] * other[i];
    }

    return sum;
}
