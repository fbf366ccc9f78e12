namespace Antiphon.Models.Tests.Files;

/// <summary>Small damage to a file.</summary>
internal static class Mutation
{
    /// <summary>A copy with one to four changes, most of them in the header.</summary>
    public static byte[] Of(byte[] original, Random random, int headerBytes)
    {
        byte[] bytes = [.. original];
        int changes = random.Next(1, 5);
        for (int i = 0; i < changes && bytes.Length > 8; i++)
        {
            int at = random.Next(random.Next(8) == 0 ? bytes.Length : Math.Min(headerBytes, bytes.Length));
            switch (random.Next(7))
            {
                case 0:
                    bytes[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 1:
                    bytes[at] = (byte)random.Next(256);
                    break;
                case 2:
                    bytes[at] = 0xff;
                    break;
                case 3:
                    // Extremes in the place of a 64-bit number.
                    BitConverter.TryWriteBytes(bytes.AsSpan(Math.Min(at, bytes.Length - 8)), random.Next(3) switch { 0 => long.MaxValue, 1 => -1L, _ => 1L << random.Next(64) });
                    break;
                case 4:
                    bytes = bytes[..at];
                    break;
                case 5:
                    int end = Math.Min(bytes.Length, at + random.Next(64));
                    bytes = [.. bytes[..at], .. bytes[end..]];
                    break;
                default:
                    end = Math.Min(bytes.Length, at + random.Next(64));
                    bytes = [.. bytes[..end], .. bytes[at..]];
                    break;
            }
        }

        return bytes;
    }
}
