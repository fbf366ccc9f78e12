using System.Globalization;
using System.Numerics;
using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>One GGUF file, alone or as a part of a split set: what its header says, checked against its bytes.</summary>
internal sealed class GgufPart
{
    private const uint DefaultAlignment = 32;
    private const uint MaxAlignment = 1 << 20;

    private GgufPart(int version, bool bigEndian, GgufMetadata metadata, List<TensorView> tensors)
    {
        Version = version;
        BigEndian = bigEndian;
        Metadata = metadata;
        Tensors = tensors;
    }

    /// <summary>2 or 3.</summary>
    public int Version { get; }

    /// <summary>Whether numbers, those in tensors too, are big-endian.</summary>
    public bool BigEndian { get; }

    /// <summary>Keys and values.</summary>
    public GgufMetadata Metadata { get; }

    /// <summary>Tensors in file order, still in the byte order of the file.</summary>
    public List<TensorView> Tensors { get; }

    /// <summary>Reads the header of a file.</summary>
    /// <exception cref="ModelFormatException">Anything in it does not hold.</exception>
    public static GgufPart Read(FileRegion file)
    {
        var reader = new GgufReader(file.Path, file.Head);
        int version = reader.ReadVersion();
        int tensorCount = reader.ReadCount(24, "tensors");
        int entryCount = reader.ReadCount(14, "metadata entries");
        GgufMetadata metadata = reader.ReadMetadata(entryCount);
        uint alignment = Alignment(file.Path, metadata);

        var infos = new List<(string Name, long[] Shape, TensorFormat Format, ulong Offset)>();
        var names = new HashSet<string>(StringComparer.Ordinal);
        for (int i = 0; i < tensorCount; i++)
        {
            (string name, long[] shape, uint type, ulong offset) = reader.ReadTensorInfo();
            if (!names.Add(name))
            {
                throw new ModelFormatException($"{file.Path}: tensor '{name}' is there twice; the file was written wrongly: convert the model again");
            }

            if (type > int.MaxValue || !TensorFormats.IsKnown((int)type))
            {
                throw new ModelFormatException($"{file.Path}: tensor '{name}' has type {type}, which is {Unknown(type)}; use a file in another quantisation");
            }

            if (offset % alignment != 0)
            {
                throw new ModelFormatException($"{file.Path}: tensor '{name}' lies at offset {offset}, which is no multiple of the alignment {alignment}; the file is damaged: fetch it again");
            }

            infos.Add((name, shape, (TensorFormat)type, offset));
        }

        // A sum of two numbers below 2^31, so that it cannot overflow a long.
        long dataStart = ((long)reader.Position + alignment - 1) / alignment * alignment;
        FileRegion data = file.From(dataStart);
        var tensors = new List<TensorView>(infos.Count);
        foreach ((string name, long[] shape, TensorFormat format, ulong offset) in infos)
        {
            tensors.Add(data.Tensor(name, format, shape, offset));
        }

        CheckOverlap(file.Path, tensors);
        return new GgufPart(version, reader.BigEndian, metadata, tensors);
    }

    private static uint Alignment(string path, GgufMetadata metadata)
    {
        if (!metadata.TryGetUInt32("general.alignment", out uint alignment))
        {
            return DefaultAlignment;
        }

        return BitOperations.IsPow2(alignment) && alignment <= MaxAlignment
            ? alignment
            : throw new ModelFormatException($"{path}: general.alignment is {alignment}; it must be a power of two up to {MaxAlignment}: the file is damaged or was written wrongly");
    }

    private static string Unknown(uint type) => type switch
    {
        4 or 5 => "a retired format (Q4_2, Q4_3)",
        31 or 32 or 33 or 36 or 37 or 38 => "a retired format (repacked for one kind of processor)",
        _ => string.Create(CultureInfo.InvariantCulture, $"unknown here (the newest known is {(int)TensorFormat.Q1_0})"),
    };

    private static void CheckOverlap(string path, List<TensorView> tensors)
    {
        TensorView? last = null;
        foreach (TensorView tensor in tensors.Where(t => t.ByteCount > 0).OrderBy(t => t.Data))
        {
            if (last is TensorView before && before.Data + before.ByteCount > tensor.Data)
            {
                throw new ModelFormatException($"{path}: tensors '{before.Name}' and '{tensor.Name}' overlap; the file is damaged: fetch it again");
            }

            last = tensor;
        }
    }
}
