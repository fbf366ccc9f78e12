namespace Antiphon.Cli.Tests;

/// <summary>The embedded model as bytes, to write it to disk whole or damaged.</summary>
internal static class TalesFile
{
    public static byte[] Bytes()
    {
        using Stream stream = typeof(Tales).Assembly.GetManifestResourceStream("tales.Q8_0.gguf")!;
        var bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        return bytes;
    }

    /// <summary>The bytes with the first occurrence of a text replaced by one of the same length.</summary>
    public static byte[] With(string text, string replacement)
    {
        byte[] bytes = Bytes();
        byte[] find = System.Text.Encoding.UTF8.GetBytes(text);
        byte[] put = System.Text.Encoding.UTF8.GetBytes(replacement);
        Assert.Equal(find.Length, put.Length);
        int at = bytes.AsSpan().IndexOf(find);
        Assert.True(at >= 0, $"{text} is not in the file");
        put.CopyTo(bytes, at);
        return bytes;
    }
}
