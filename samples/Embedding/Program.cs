using Antiphon;
using Microsoft.Extensions.AI;

// A model of your own: LanguageModel.LoadAsync("model.gguf"), or the folder of a Hugging Face model.
await using LanguageModel model = await Tales.LoadAsync();
IChatClient client = model.AsChatClient();

List<ChatMessage> conversation = [new(ChatRole.User, "Tell me a story about a fox and a river.")];
await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync(conversation))
{
    Console.Write(update.Text);
}

Console.WriteLine();
