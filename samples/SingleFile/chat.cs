#:project ../../src/Antiphon.Models.Tales/Antiphon.Models.Tales.csproj
#:property PublishAot=false
using Antiphon;
using Microsoft.Extensions.AI;

// A conversation, as it is written. A model of your own: LanguageModel.LoadAsync("model.gguf").
await using LanguageModel model = await Tales.LoadAsync();
IChatClient client = model.AsChatClient();
List<ChatMessage> conversation = [];
string[] questions = args.Length > 0 ? args : ["Tell me a story about a fox and a river.", "Calculate 3 - 2."];
foreach (string question in questions)
{
    Console.WriteLine($"> {question}");
    conversation.Add(new ChatMessage(ChatRole.User, question));
    List<ChatResponseUpdate> updates = [];
    await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync(conversation))
    {
        Console.Write(update.Text);
        updates.Add(update);
    }

    // Thoughts go back as well: the template decides what the model sees of them.
    ChatResponse response = updates.ToChatResponse();
    conversation.AddRange(response.Messages);
    Console.WriteLine($"\n({response.Usage?.OutputTokenCount} tokens, {response.Usage?.CachedInputTokenCount} of {response.Usage?.InputTokenCount} from the cache)\n");
}
