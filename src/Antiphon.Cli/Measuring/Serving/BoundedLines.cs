using System.Text;

namespace Antiphon.Cli;

/// <summary>Lines of UTF-8 text of limited length: a peer that sends no line break does not fill the memory.</summary>
internal sealed class BoundedLines(Stream stream, int limit) : IDisposable
{
    private byte[] buffer = new byte[4096];
    private int start;
    private int end;

    /// <summary>The next line without its break, or null at the end.</summary>
    /// <exception cref="InvalidDataException">The line is longer than the limit.</exception>
    public string? Read()
    {
        while (true)
        {
            if (Take(out string? line))
            {
                return line;
            }

            int read = stream.Read(buffer, end, buffer.Length - end);
            if (read == 0)
            {
                return Rest();
            }

            end += read;
        }
    }

    /// <inheritdoc cref="Read"/>
    public async ValueTask<string?> ReadAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            if (Take(out string? line))
            {
                return line;
            }

            int read = await stream.ReadAsync(buffer.AsMemory(end), cancellationToken).ConfigureAwait(false);
            if (read == 0)
            {
                return Rest();
            }

            end += read;
        }
    }

    public void Dispose() => stream.Dispose();

    /// <summary>Takes a whole line from the buffer, or makes room for more.</summary>
    private bool Take(out string? line)
    {
        int length = buffer.AsSpan(start, end - start).IndexOf((byte)'\n');
        if (length >= 0)
        {
            line = Text(length);
            start += length + 1;
            return true;
        }

        line = null;
        if (end - start > limit)
        {
            throw new InvalidDataException($"a line is longer than {limit} bytes");
        }

        buffer.AsSpan(start, end - start).CopyTo(buffer);
        (start, end) = (0, end - start);
        if (end == buffer.Length)
        {
            Array.Resize(ref buffer, buffer.Length * 2);
        }

        return false;
    }

    private string? Rest()
    {
        string? rest = end > start ? Text(end - start) : null;
        start = end;
        return rest;
    }

    private string Text(int length) => Encoding.UTF8.GetString(buffer, start, length).TrimEnd('\r');
}
