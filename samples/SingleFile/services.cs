#:project ../../src/Antiphon.Models.Tales/Antiphon.Models.Tales.csproj
#:package Microsoft.Extensions.DependencyInjection
#:property PublishAot=false
using Antiphon;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;

// One model for all who ask, loaded once. In a host the same calls on builder.Services load it while the host starts.
await using ServiceProvider services = new ServiceCollection()
    .AddAntiphonModel((_, stop) => Tales.LoadAsync(cancellationToken: stop))
    .AddAntiphonChatClient()
    .AddAntiphonEmbeddingGenerator()
    .AddTransient<Storyteller>()
    .BuildServiceProvider();

// Callers at the same time share one batch.
string[] heroes = args.Length > 0 ? args : ["fox", "owl", "lamp"];
string[] stories = await Task.WhenAll(heroes.Select(h => services.GetRequiredService<Storyteller>().TellAsync(h)));
foreach (string story in stories)
{
    Console.WriteLine(story);
    Console.WriteLine();
}

internal sealed class Storyteller(IChatClient client)
{
    public async Task<string> TellAsync(string hero) => (await client.GetResponseAsync($"Tell me a story about a {hero} and a river.")).Text;
}
