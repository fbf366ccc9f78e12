using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.Options;

namespace Antiphon.Server;

/// <summary>The configured keys, kept as hashes and compared in constant time.</summary>
internal sealed class ApiKeys
{
    private readonly byte[][] hashes;
    private readonly byte[][] adminHashes;

    public ApiKeys(IOptions<AntiphonServerOptions> options)
    {
        IEnumerable<string> keys = options.Value.ApiKeys;
        if (options.Value.ApiKeyFile is string file)
        {
            keys = keys.Concat(File.ReadLines(file).Select(line => line.Trim()).Where(line => line.Length > 0 && line[0] != '#'));
        }

        hashes = [.. keys.Distinct(StringComparer.Ordinal).Select(Hash)];
        adminHashes = options.Value.AdminKeys.Count == 0 ? hashes : [.. options.Value.AdminKeys.Select(Hash)];
    }

    /// <summary>Whether keys are asked for at all.</summary>
    public bool Required => hashes.Length > 0;

    /// <summary>Whether management needs a key.</summary>
    public bool AdminRequired => adminHashes.Length > 0;

    /// <summary>A short name of the key in use that reveals nothing of it, or null when the key is not one of ours.</summary>
    public string? Match(string? key, bool admin)
    {
        if (key is null)
        {
            return null;
        }

        byte[] hash = Hash(key);
        byte[]? found = null;
        foreach (byte[] known in admin ? adminHashes : hashes)
        {
            // No early exit: the time does not tell which key came near.
            found = CryptographicOperations.FixedTimeEquals(hash, known) ? known : found;
        }

        return found is null ? null : Convert.ToHexStringLower(found, 0, 8);
    }

    private static byte[] Hash(string key) => SHA256.HashData(Encoding.UTF8.GetBytes(key));
}
