using System.Buffers.Binary;
using System.Text.Json;
using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>
/// One safetensors file, mapped into memory. Its tensors follow each other without gaps, but their addresses need not be multiples of their
/// element size: readers must not rely on alignment.
/// </summary>
internal sealed class SafetensorsFile : IDisposable
{
    private const long MaxHeaderBytes = 100_000_000;
    private const int MaxTensors = 500_000;
    private const int MaxRank = 16;
    private readonly MappedFile file;

    private SafetensorsFile(MappedFile file)
    {
        this.file = file;
        Tensors = Read(file.Region);
    }

    /// <summary>The tensors in header order.</summary>
    public List<TensorView> Tensors { get; }

    /// <summary>Bytes of the file.</summary>
    public long FileBytes => file.Region.Length;

    /// <summary>Maps a file and checks its header.</summary>
    /// <exception cref="ModelFormatException">The file is missing or damaged.</exception>
    public static SafetensorsFile Open(string path)
    {
        MappedFile file = MappedFile.Open(path);
        try
        {
            return new SafetensorsFile(file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Reads and checks the header of a file.</summary>
    internal static List<TensorView> Read(FileRegion file)
    {
        ReadOnlySpan<byte> head = file.Head;
        if (head.Length < 8)
        {
            throw Damaged(file, "is too short for a safetensors file");
        }

        ulong headerBytes = BinaryPrimitives.ReadUInt64LittleEndian(head);
        if (headerBytes > MaxHeaderBytes || headerBytes > (ulong)(head.Length - 8))
        {
            throw Damaged(file, $"claims a header of {headerBytes} bytes, of which {head.Length - 8} are there and {MaxHeaderBytes} are allowed");
        }

        FileRegion data = file.From(8 + (long)headerBytes);
        try
        {
            List<(TensorView View, long Begin, long End)> entries = ReadHeader(file, data, head.Slice(8, (int)headerBytes));
            CheckCover(file, data.Length, entries);
            return entries.ConvertAll(e => e.View);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new ModelFormatException($"{file.Path}: the header is not the JSON of a safetensors file; the file is damaged: fetch it again", e);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => file.Dispose();

    private static List<(TensorView View, long Begin, long End)> ReadHeader(FileRegion file, FileRegion data, ReadOnlySpan<byte> header)
    {
        var entries = new List<(TensorView, long, long)>();
        var names = new HashSet<string>(StringComparer.Ordinal);
        var reader = new Utf8JsonReader(header, new JsonReaderOptions { MaxDepth = 8 });
        Expect(ref reader, JsonTokenType.StartObject);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string name = reader.GetString()!;
            if (!names.Add(name))
            {
                throw Damaged(file, $"has '{name}' twice in its header");
            }

            if (name == "__metadata__")
            {
                reader.Read();
                reader.Skip();
                continue;
            }

            if (entries.Count == MaxTensors)
            {
                throw Damaged(file, $"has more than {MaxTensors} tensors");
            }

            entries.Add(ReadTensor(file, data, name, ref reader));
        }

        // Nothing but white space may follow; Read throws on anything else.
        reader.Read();
        return entries;
    }

    private static (TensorView View, long Begin, long End) ReadTensor(FileRegion file, FileRegion data, string name, ref Utf8JsonReader reader)
    {
        string? dtype = null;
        List<long>? shape = null;
        List<long>? offsets = null;
        Expect(ref reader, JsonTokenType.StartObject);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (reader.ValueTextEquals("dtype"u8) && dtype is null)
            {
                Expect(ref reader, JsonTokenType.String);
                dtype = reader.GetString();
            }
            else if (reader.ValueTextEquals("shape"u8) && shape is null)
            {
                shape = ReadNumbers(file, name, ref reader, MaxRank);
            }
            else if (reader.ValueTextEquals("data_offsets"u8) && offsets is null)
            {
                offsets = ReadNumbers(file, name, ref reader, 2);
            }
            else
            {
                throw Damaged(file, $"describes tensor '{name}' with a field that is unknown or doubled");
            }
        }

        if (dtype is null || shape is null || offsets is not [long begin, long end] || begin > end)
        {
            throw Damaged(file, $"describes tensor '{name}' without dtype, shape and two ascending data_offsets");
        }

        TensorFormat format = dtype switch
        {
            "F64" => TensorFormat.F64,
            "F32" => TensorFormat.F32,
            "F16" => TensorFormat.F16,
            "BF16" => TensorFormat.BF16,
            "I64" => TensorFormat.I64,
            "I32" => TensorFormat.I32,
            "I16" => TensorFormat.I16,
            "I8" => TensorFormat.I8,
            "U64" => TensorFormat.U64,
            "U32" => TensorFormat.U32,
            "U16" => TensorFormat.U16,
            "U8" => TensorFormat.U8,
            "BOOL" => TensorFormat.BOOL,
            "F8_E4M3" => TensorFormat.F8_E4M3,
            "F8_E5M2" => TensorFormat.F8_E5M2,
            "F8_E8M0" => TensorFormat.F8_E8M0,
            _ => throw new ModelFormatException($"{file.Path}: tensor '{name}' has dtype {dtype}, which is not supported; use a checkpoint in another precision"),
        };
        TensorView view = data.Tensor(name, format, [.. shape], (ulong)begin);
        return view.ByteCount == end - begin
            ? (view, begin, end)
            : throw Damaged(file, $"gives tensor '{name}' {end - begin} bytes, and its shape and dtype need {view.ByteCount}");
    }

    private static List<long> ReadNumbers(FileRegion file, string name, ref Utf8JsonReader reader, int most)
    {
        var numbers = new List<long>();
        Expect(ref reader, JsonTokenType.StartArray);
        while (reader.Read() && reader.TokenType == JsonTokenType.Number)
        {
            if (numbers.Count == most || !reader.TryGetInt64(out long number) || number < 0)
            {
                throw Damaged(file, $"gives tensor '{name}' a shape or data_offsets that cannot be: too many, negative or no integers");
            }

            numbers.Add(number);
        }

        return reader.TokenType == JsonTokenType.EndArray ? numbers : throw new JsonException();
    }

    /// <summary>The tensors must cover the data exactly: a gap can hide anything, an overlap makes one tensor another's bytes.</summary>
    private static void CheckCover(FileRegion file, long dataBytes, List<(TensorView View, long Begin, long End)> entries)
    {
        long covered = 0;
        foreach ((TensorView view, long begin, long end) in entries.OrderBy(e => e.Begin).ThenBy(e => e.End))
        {
            if (begin != covered)
            {
                throw Damaged(file, $"has a gap or an overlap before tensor '{view.Name}'");
            }

            covered = end;
        }

        if (covered != dataBytes)
        {
            throw Damaged(file, $"has {dataBytes} bytes of data, of which its tensors use {covered}");
        }
    }

    private static void Expect(ref Utf8JsonReader reader, JsonTokenType type)
    {
        if (!reader.Read() || reader.TokenType != type)
        {
            throw new JsonException();
        }
    }

    private static ModelFormatException Damaged(FileRegion file, string what) => new($"{file.Path}: the file {what}; it is damaged: fetch it again");
}
