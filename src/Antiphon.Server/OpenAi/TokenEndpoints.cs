using System.Text.Json;
using Antiphon.Text;

namespace Antiphon.Server;

/// <summary><c>POST /tokenize</c> and <c>POST /detokenize</c>.</summary>
internal static class TokenEndpoints
{
    /// <summary>Text (or a conversation, through the chat template) to tokens.</summary>
    public static async Task TokenizeAsync(HttpContext context)
    {
        AntiphonServerOptions options = context.ServerOptions();
        using JsonDocument body = await JsonBody.ReadAsync(context, options.MaximumBodyBytes);
        var fields = new JsonFields(body.RootElement);
        using ModelLease lease = await context.Models().AcquireAsync(fields.String("model"), context.RequestAborted);
        ServedModel model = lease.Model;
        IReadOnlyList<int> tokens;
        if (fields.Any("messages") is not null)
        {
            tokens = ChatRequest.ReadPrompt(fields, model, options, context.Logger()).Tokens;
        }
        else
        {
            string text = fields.String("prompt") ?? fields.String("content") ?? throw ApiException.Invalid("prompt", "is missing: give \"prompt\" or \"messages\"");
            tokens = model.Tokenizer.Encode(text, fields.Boolean("add_special_tokens") ?? true, fields.Boolean("parse_special") ?? false);
        }

        bool strings = fields.Boolean("return_token_strs") ?? false;
        await JsonBody.WriteAsync(context, 200, (Model: model, Tokens: tokens, Strings: strings), static (writer, state) =>
        {
            writer.WriteStartObject();
            writer.WriteNumber("count", state.Tokens.Count);
            writer.WriteNumber("max_model_len", state.Model.Engine.ContextLength);
            writer.WriteStartArray("tokens");
            foreach (int token in state.Tokens)
            {
                writer.WriteNumberValue(token);
            }

            writer.WriteEndArray();
            if (state.Strings)
            {
                writer.WriteStartArray("token_strs");
                foreach (int token in state.Tokens)
                {
                    writer.WriteStringValue(state.Model.Tokenizer.TokenText(token));
                }

                writer.WriteEndArray();
            }

            writer.WriteEndObject();
        });
    }

    /// <summary>Tokens to text.</summary>
    public static async Task DetokenizeAsync(HttpContext context)
    {
        AntiphonServerOptions options = context.ServerOptions();
        using JsonDocument body = await JsonBody.ReadAsync(context, options.MaximumBodyBytes);
        var fields = new JsonFields(body.RootElement);
        using ModelLease lease = await context.Models().AcquireAsync(fields.String("model"), context.RequestAborted);
        JsonElement list = fields.Array("tokens", int.MaxValue) ?? throw ApiException.Invalid("tokens", "is missing");
        int[] tokens = TokenList.Read(list, "tokens", lease.Model.Engine.VocabularySize);
        string text = lease.Model.Tokenizer.Decode(tokens, fields.Boolean("skip_special_tokens") ?? false);
        await JsonBody.WriteAsync(context, 200, text, static (writer, text) =>
        {
            writer.WriteStartObject();
            writer.WriteString("prompt", text);
            writer.WriteEndObject();
        });
    }
}
