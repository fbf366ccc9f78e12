using System.Buffers.Binary;
using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>
/// Writes a GGUF file, version 3, little-endian: first all metadata and tensor descriptions, then the tensors' bytes in the same order,
/// in pieces of any size, so that no tensor need be in memory.
/// </summary>
public sealed class GgufWriter
{
    private readonly Stream stream;
    private readonly int alignment;
    private readonly List<KeyValuePair<string, GgufValue>> entries = [];
    private readonly List<(string Name, TensorFormat Format, long[] Shape, long Bytes)> tensors = [];
    private readonly HashSet<string> names = new(StringComparer.Ordinal);
    private readonly HashSet<string> keys = new(StringComparer.Ordinal);
    private bool headerWritten;
    private int current;
    private long left;

    /// <summary>Begins a file.</summary>
    /// <param name="stream">Where it goes; need not be seekable; not closed.</param>
    /// <param name="alignment">Each tensor begins at a multiple of this, a power of two of 8 to 1 MiB. Other than 32 it is also written as general.alignment.</param>
    public GgufWriter(Stream stream, int alignment = 32)
    {
        ArgumentNullException.ThrowIfNull(stream);
        if (!System.Numerics.BitOperations.IsPow2(alignment) || alignment is < 8 or > 1 << 20)
        {
            throw new ArgumentOutOfRangeException(nameof(alignment), alignment, "must be a power of two of 8 to 1 MiB");
        }

        this.stream = stream;
        this.alignment = alignment;
    }

    /// <summary>Adds a metadata entry. An entry general.alignment is taken for its place in the order; its value must be the writer's alignment.</summary>
    /// <exception cref="ArgumentException">The key is there already, or is empty.</exception>
    public void Add(string key, GgufValue value)
    {
        ArgumentException.ThrowIfNullOrEmpty(key);
        ThrowIfBegun();
        if (key == "general.alignment" && (!value.TryGetInteger(out Int128 given) || given != alignment))
        {
            throw new ArgumentException("general.alignment must be the alignment that the writer was made with", nameof(value));
        }

        if (!keys.Add(key))
        {
            throw new ArgumentException($"metadata '{key}' is there already", nameof(key));
        }

        entries.Add(new(key, value));
    }

    /// <summary>Adds the description of a tensor; its bytes are written later.</summary>
    /// <param name="name">Its name; none twice.</param>
    /// <param name="format">Its format, one that GGUF has.</param>
    /// <param name="shape">Dimensions, outermost first, at most four; the last is whole blocks.</param>
    public void AddTensor(string name, TensorFormat format, IReadOnlyList<long> shape)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        ArgumentNullException.ThrowIfNull(shape);
        ThrowIfBegun();
        if (!TensorFormats.IsKnown((int)format) || shape.Count > 4 || shape.Any(d => d < 0) || (shape.Count > 0 && shape[^1] % format.BlockElements() != 0))
        {
            throw new ArgumentException($"tensor '{name}' as {format} [{string.Join(", ", shape)}] cannot stand in a GGUF file", nameof(shape));
        }

        if (!names.Add(name))
        {
            throw new ArgumentException($"tensor '{name}' is there already", nameof(name));
        }

        long elements = shape.Aggregate(1L, (product, dimension) => checked(product * dimension));
        tensors.Add((name, format, [.. shape], format.ByteCount(elements)));
    }

    /// <summary>Writes bytes of the tensors, one after the other in the order of their descriptions. The header goes out with the first of them.</summary>
    /// <exception cref="ArgumentException">There are more bytes than the described tensors have.</exception>
    public void Write(ReadOnlySpan<byte> bytes)
    {
        WriteHeader();
        while (!bytes.IsEmpty)
        {
            if (current == tensors.Count)
            {
                throw new ArgumentException($"{bytes.Length} bytes too many", nameof(bytes));
            }

            int count = (int)Math.Min(bytes.Length, left);
            stream.Write(bytes[..count]);
            bytes = bytes[count..];
            left -= count;
            Advance();
        }
    }

    /// <summary>Ends the file.</summary>
    /// <exception cref="InvalidOperationException">Bytes of a tensor are missing.</exception>
    public void Finish()
    {
        WriteHeader();
        if (current != tensors.Count)
        {
            throw new InvalidOperationException($"tensor '{tensors[current].Name}' lacks {left} bytes");
        }

        stream.Flush();
    }

    private void ThrowIfBegun()
    {
        if (headerWritten)
        {
            throw new InvalidOperationException("the header is written already");
        }
    }

    private void WriteHeader()
    {
        if (headerWritten)
        {
            return;
        }

        headerWritten = true;
        if (alignment != 32 && keys.Add("general.alignment"))
        {
            entries.Add(new("general.alignment", GgufValue.Of((uint)alignment)));
        }

        // The header is small beside the tensors; made in memory, its length gives the padding.
        using var header = new MemoryStream();
        header.Write("GGUF"u8);
        WriteUInt32(header, 3);
        WriteUInt64(header, (ulong)tensors.Count);
        WriteUInt64(header, (ulong)entries.Count);
        foreach ((string key, GgufValue value) in entries)
        {
            header.Write(GgufValue.Of(key).Encoded.Span);
            WriteUInt32(header, (uint)value.Type);
            header.Write(value.Encoded.Span);
        }

        ulong offset = 0;
        foreach ((string name, TensorFormat format, long[] shape, long bytes) in tensors)
        {
            header.Write(GgufValue.Of(name).Encoded.Span);
            WriteUInt32(header, (uint)shape.Length);
            foreach (long dimension in shape.Reverse())
            {
                WriteUInt64(header, (ulong)dimension);
            }

            WriteUInt32(header, (uint)format);
            WriteUInt64(header, offset);
            offset = checked(offset + (ulong)bytes + (ulong)Padding(bytes));
        }

        header.Write(new byte[Padding(header.Length)]);
        header.WriteTo(stream);
        left = tensors.Count > 0 ? tensors[0].Bytes : 0;
        Advance();
    }

    /// <summary>Pads behind finished tensors and goes on to the next one that has bytes.</summary>
    private void Advance()
    {
        while (current < tensors.Count && left == 0)
        {
            stream.Write(new byte[Padding(tensors[current].Bytes)]);
            current++;
            left = current < tensors.Count ? tensors[current].Bytes : 0;
        }
    }

    private int Padding(long bytes) => (int)(-bytes & (alignment - 1));

    private static void WriteUInt32(Stream stream, uint value)
    {
        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        stream.Write(bytes);
    }

    private static void WriteUInt64(Stream stream, ulong value)
    {
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        stream.Write(bytes);
    }
}
