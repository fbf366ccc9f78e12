using System.Buffers.Binary;
using System.Text;

namespace Antiphon.Models;

/// <summary>Reads the header of a GGUF file front to back. Every count is compared with the bytes that are left before anything is made of it.</summary>
internal ref struct GgufReader
{
    /// <summary>Arrays inside arrays, at most.</summary>
    private const int MaxDepth = 8;

    private const int MaxKeyBytes = 65535;
    private const int MaxNameBytes = 1024;
    private readonly ReadOnlySpan<byte> bytes;
    private readonly string path;
    private int position;

    /// <summary>Begins to read.</summary>
    /// <param name="path">The file, for messages.</param>
    /// <param name="bytes">The file from its first byte on, at least as far as its header goes.</param>
    public GgufReader(string path, ReadOnlySpan<byte> bytes)
    {
        this.path = path;
        this.bytes = bytes;
    }

    /// <summary>Whether the numbers of the file are big-endian. Set by the version, which is the first number.</summary>
    public bool BigEndian { get; private set; }

    /// <summary>Bytes read so far.</summary>
    public readonly int Position => position;

    /// <summary>Reads magic and version.</summary>
    public int ReadVersion()
    {
        if (!Take(4, "magic").SequenceEqual("GGUF"u8))
        {
            throw Damaged("does not begin with GGUF: it is no GGUF file; give a .gguf file or a Hugging Face folder");
        }

        // Versions are small: a number whose low half is empty was written in the other order.
        BigEndian = (BinaryPrimitives.ReadUInt32LittleEndian(bytes[4..].Length < 4 ? Take(4, "version") : bytes[4..]) & 0xffff) == 0;
        uint version = ReadUInt32("version");
        if (version is not (2 or 3))
        {
            throw Damaged($"has GGUF version {version}, and 2 and 3 can be read; convert the model again with a current converter");
        }

        return (int)version;
    }

    /// <summary>Reads a count of things that take at least <paramref name="leastBytes"/> bytes each.</summary>
    /// <param name="leastBytes">Bytes of each.</param>
    /// <param name="what">The things, for messages.</param>
    /// <param name="key">The metadata that they belong to, or null.</param>
    public int ReadCount(int leastBytes, string what, string? key = null)
    {
        ulong count = ReadUInt64(what);
        if (count > (ulong)((bytes.Length - position) / leastBytes))
        {
            throw Damaged($"claims {count} {what}{(key is null ? "" : $" '{key}'")}, more than fit in the {bytes.Length - position} bytes that follow; the file is truncated or damaged: fetch it again");
        }

        return (int)count;
    }

    /// <summary>Reads the metadata.</summary>
    public GgufMetadata ReadMetadata(int count)
    {
        int start = position;
        var places = new List<(string Key, GgufValueType Type, int Start, int End)>();
        var seen = new HashSet<string>(StringComparer.Ordinal);
        for (int i = 0; i < count; i++)
        {
            string key = ReadName("a metadata key", MaxKeyBytes);
            if (!seen.Add(key))
            {
                throw Damaged($"has metadata '{key}' twice; the file was written wrongly: convert the model again");
            }

            GgufValueType type = ReadType(key);
            int begin = position;
            SkipValue(type, key, 0);
            places.Add((key, type, begin, position));
        }

        // One private copy in little-endian form: values then outlive the mapping, and have one form whatever the file's.
        byte[] copy = bytes[start..position].ToArray();
        var entries = new List<KeyValuePair<string, GgufValue>>(places.Count);
        foreach ((string key, GgufValueType type, int begin, int end) in places)
        {
            if (BigEndian)
            {
                Swap(type, copy.AsSpan(begin - start, end - begin));
            }

            entries.Add(new(key, new GgufValue(type, copy.AsMemory(begin - start, end - begin))));
        }

        return new GgufMetadata(path, entries);
    }

    /// <summary>Reads one tensor info: dimensions are given outermost first, the type and the offset as they stand in the file.</summary>
    public (string Name, long[] Shape, uint Type, ulong Offset) ReadTensorInfo()
    {
        string name = ReadName("a tensor name", MaxNameBytes);
        uint rank = ReadUInt32(name);
        if (rank > 4)
        {
            throw Damaged($"gives tensor '{name}' {rank} dimensions, and GGUF has at most 4; the file is damaged: fetch it again");
        }

        long[] shape = new long[rank];
        for (int i = shape.Length - 1; i >= 0; i--)
        {
            ulong dimension = ReadUInt64(name);
            if (dimension > long.MaxValue)
            {
                throw Damaged($"gives tensor '{name}' a dimension of {dimension}; the file is damaged: fetch it again");
            }

            shape[i] = (long)dimension;
        }

        return (name, shape, ReadUInt32(name), ReadUInt64(name));
    }

    private uint ReadUInt32(string what)
    {
        ReadOnlySpan<byte> number = Take(4, what);
        return BigEndian ? BinaryPrimitives.ReadUInt32BigEndian(number) : BinaryPrimitives.ReadUInt32LittleEndian(number);
    }

    private ulong ReadUInt64(string what)
    {
        ReadOnlySpan<byte> number = Take(8, what);
        return BigEndian ? BinaryPrimitives.ReadUInt64BigEndian(number) : BinaryPrimitives.ReadUInt64LittleEndian(number);
    }

    private string ReadName(string what, int maxBytes)
    {
        int length = ReadCount(1, $"bytes of {what}");
        if (length == 0 || length > maxBytes)
        {
            throw Damaged($"has {what} of {length} bytes, and 1 to {maxBytes} are allowed; the file is damaged: fetch it again");
        }

        try
        {
            return GgufValue.Utf8.GetString(Take(length, what));
        }
        catch (DecoderFallbackException e)
        {
            throw new ModelFormatException($"{path}: {what} is not UTF-8 text; the file is damaged: fetch it again", e);
        }
    }

    private GgufValueType ReadType(string key)
    {
        uint type = ReadUInt32(key);
        return type <= (uint)GgufValueType.Float64
            ? (GgufValueType)type
            : throw Damaged($"gives metadata '{key}' the unknown type {type}; the file is damaged, or newer than this program");
    }

    private void SkipValue(GgufValueType type, string key, int depth)
    {
        switch (type)
        {
            case GgufValueType.String:
                Take(ReadCount(1, "bytes of string", key), key);
                break;
            case GgufValueType.Array:
                if (depth == MaxDepth)
                {
                    throw Damaged($"nests arrays in metadata '{key}' deeper than {MaxDepth}; no model needs that: the file is damaged");
                }

                GgufValueType element = ReadType(key);
                int count = ReadCount(element.LeastBytes(), "elements of metadata", key);
                if (element is GgufValueType.String or GgufValueType.Array)
                {
                    for (int i = 0; i < count; i++)
                    {
                        SkipValue(element, key, depth + 1);
                    }
                }
                else
                {
                    CheckScalars(element, Take(count * element.FixedBytes(), key), key);
                }

                break;
            default:
                CheckScalars(type, Take(type.FixedBytes(), key), key);
                break;
        }
    }

    private readonly void CheckScalars(GgufValueType type, ReadOnlySpan<byte> values, string key)
    {
        if (type == GgufValueType.Boolean && values.ContainsAnyExceptInRange((byte)0, (byte)1))
        {
            throw Damaged($"has a boolean in metadata '{key}' that is neither 0 nor 1; the file is damaged: fetch it again");
        }
    }

    /// <summary>Turns checked big-endian bytes of a value into little-endian ones.</summary>
    /// <returns>The bytes after the value.</returns>
    private static Span<byte> Swap(GgufValueType type, Span<byte> value)
    {
        switch (type)
        {
            case GgufValueType.String:
                value[..8].Reverse();
                return value[(8 + (int)BinaryPrimitives.ReadInt64LittleEndian(value))..];
            case GgufValueType.Array:
                value[..4].Reverse();
                value[4..12].Reverse();
                var element = (GgufValueType)BinaryPrimitives.ReadInt32LittleEndian(value);
                int count = (int)BinaryPrimitives.ReadInt64LittleEndian(value[4..]);
                Span<byte> rest = value[12..];
                for (int i = 0; i < count; i++)
                {
                    rest = Swap(element, rest);
                }

                return rest;
            default:
                value[..type.FixedBytes()].Reverse();
                return value[type.FixedBytes()..];
        }
    }

    private ReadOnlySpan<byte> Take(int count, string what)
    {
        if (count > bytes.Length - position)
        {
            throw Damaged($"ends inside its header, at '{what}'; the file is truncated: fetch it again");
        }

        ReadOnlySpan<byte> taken = bytes.Slice(position, count);
        position += count;
        return taken;
    }

    private readonly ModelFormatException Damaged(string what) => new($"{path}: the file {what}");
}
