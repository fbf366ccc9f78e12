using System.Text.Json;

namespace Antiphon.Server;

/// <summary>Lists of token ids in requests.</summary>
internal static class TokenList
{
    /// <summary>The error code for whole numbers that are no ids of the model's vocabulary, which a client cannot know beforehand.</summary>
    public const string Unknown = "token_not_in_vocabulary";

    /// <summary>Reads a list whose entries must be ids of the vocabulary.</summary>
    public static int[] Read(JsonElement list, string name, int vocabulary)
    {
        int[] tokens = new int[list.GetArrayLength()];
        int count = 0;
        foreach (JsonElement entry in list.EnumerateArray())
        {
            long token = -1;
            bool whole = entry.ValueKind == JsonValueKind.Number && JsonFields.TryWhole(entry, out token) && token is >= 0 and <= int.MaxValue;
            tokens[count] = whole && token < vocabulary
                ? (int)token
                : throw ApiException.Invalid(name, $"entry {count} must be a token id from 0 to {vocabulary - 1}", whole ? Unknown : null);
            count++;
        }

        return tokens;
    }
}
