using System.Globalization;
using System.Text.RegularExpressions;

namespace Antiphon.Models;

/// <summary>A GGUF model, version 2 or 3, of one file or of a split set, mapped into memory.</summary>
public sealed unsafe partial class GgufFile : ModelSource
{
    private readonly List<IDisposable> owned;
    private readonly Dictionary<string, TensorView> byName;

    private GgufFile(string path, List<IDisposable> owned, GgufPart first, List<TensorView> tensors, long fileBytes, int partCount)
    {
        Path = path;
        this.owned = owned;
        Metadata = first.Metadata;
        Version = first.Version;
        Tensors = tensors;
        FileBytes = fileBytes;
        PartCount = partCount;
        byName = new(tensors.Count, StringComparer.Ordinal);
        foreach (TensorView tensor in tensors)
        {
            if (!byName.TryAdd(tensor.Name, tensor))
            {
                throw new ModelFormatException($"{path}: tensor '{tensor.Name}' is in two parts of the split set; the parts do not belong together: fetch them again");
            }
        }
    }

    /// <inheritdoc/>
    public override string Path { get; }

    /// <summary>Keys and values; of a split set, those of its first part.</summary>
    public GgufMetadata Metadata { get; }

    /// <summary>The version of the format: 2 or 3.</summary>
    public int Version { get; }

    /// <summary>Number of files.</summary>
    public int PartCount { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<TensorView> Tensors { get; }

    /// <inheritdoc/>
    public override long FileBytes { get; }

    /// <inheritdoc/>
    internal override bool IsFileMapping => owned.TrueForAll(static part => part is MappedFile);

    /// <summary>Opens a file. Of a split set any part may be named; the others are found beside it.</summary>
    /// <exception cref="ModelFormatException">The file, or a part of the set, is missing, damaged or of an unknown kind.</exception>
    public static GgufFile Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        var owned = new List<IDisposable>();
        try
        {
            GgufPart named = OpenPart(path, owned, out long fileBytes);
            (int number, int count) = SplitPlace(path, named);
            if (count <= 1)
            {
                return new GgufFile(path, owned, named, Settle(path, named, owned), fileBytes, 1);
            }

            Match name = SplitName().Match(System.IO.Path.GetFileName(path));
            if (!name.Success)
            {
                throw new ModelFormatException($"{path}: this is part {number + 1} of {count} of a split model, but it is not named NAME-{number + 1:D5}-of-{count:D5}.gguf, so that the other parts cannot be found; give all parts their own names");
            }

            string prefix = System.IO.Path.Combine(System.IO.Path.GetDirectoryName(path) ?? "", name.Groups["prefix"].Value);
            GgufPart? first = null;
            var tensors = new List<TensorView>();
            fileBytes = 0;
            for (int i = 0; i < count; i++)
            {
                string partPath = string.Create(CultureInfo.InvariantCulture, $"{prefix}-{i + 1:D5}-of-{count:D5}.gguf");
                if (!File.Exists(partPath))
                {
                    throw new ModelFormatException($"{partPath}: part {i + 1} of {count} of the split model is missing; put all parts into one folder under their own names");
                }

                GgufPart part = OpenPart(partPath, owned, out long partBytes);
                if (SplitPlace(partPath, part) != (i, count))
                {
                    throw new ModelFormatException($"{partPath}: the file says that it is another part than its name says; the parts were renamed or doubled: fetch them again");
                }

                first ??= part;
                tensors.AddRange(Settle(partPath, part, owned));
                fileBytes += partBytes;
            }

            if (first!.Metadata.TryGetInt64("split.tensors.count", out long expected) && expected != tensors.Count)
            {
                throw new ModelFormatException($"{path}: the split model should have {expected} tensors and has {tensors.Count}; the parts do not belong together: fetch them again");
            }

            return new GgufFile(path, owned, first, tensors, fileBytes, count);
        }
        catch
        {
            owned.ForEach(o => o.Dispose());
            throw;
        }
    }

    /// <summary>Opens a model that is in memory already, such as an embedded resource.</summary>
    /// <param name="start">Its first byte; must stay where it is until the source is disposed.</param>
    /// <param name="length">Its bytes.</param>
    /// <param name="name">A name for messages.</param>
    /// <param name="owner">Disposed with the source, and when opening fails; may be null.</param>
    /// <exception cref="ModelFormatException">The bytes are damaged or a part of a split set.</exception>
    public static GgufFile Open(byte* start, long length, string name, IDisposable? owner = null)
    {
        ArgumentNullException.ThrowIfNull(start);
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        List<IDisposable> owned = owner is null ? [] : [owner];
        try
        {
            GgufPart part = GgufPart.Read(new FileRegion(name, start, length));
            if (SplitPlace(name, part).Count > 1)
            {
                throw new ModelFormatException($"{name}: a part of a split model cannot be opened from memory; merge the parts into one file");
            }

            return new GgufFile(name, owned, part, Settle(name, part, owned), length, 1);
        }
        catch
        {
            owned.ForEach(o => o.Dispose());
            throw;
        }
    }

    /// <inheritdoc/>
    public override bool TryGetTensor(string name, out TensorView tensor) => byName.TryGetValue(name, out tensor);

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            owned.ForEach(o => o.Dispose());
            owned.Clear();
        }
    }

    private static GgufPart OpenPart(string path, List<IDisposable> owned, out long bytes)
    {
        MappedFile file = MappedFile.Open(path);
        owned.Add(file);
        bytes = file.Region.Length;
        return GgufPart.Read(file.Region);
    }

    private static (int Number, int Count) SplitPlace(string path, GgufPart part)
    {
        if (!part.Metadata.TryGetInt32("split.count", out int count) || count == 0)
        {
            return (0, 1);
        }

        int number = part.Metadata.GetInt32("split.no");
        return count <= 99999 && number >= 0 && number < count
            ? (number, count)
            : throw new ModelFormatException($"{path}: the file says that it is part {number} (from 0) of {count}; it is damaged: fetch it again");
    }

    /// <summary>The tensors of a part in little-endian form.</summary>
    private static List<TensorView> Settle(string path, GgufPart part, List<IDisposable> owned) =>
        part.BigEndian ? BigEndianTensors.Swap(path, part.Tensors, owned) : part.Tensors;

    [GeneratedRegex(@"^(?<prefix>.+)-[0-9]{5}-of-[0-9]{5}\.gguf$", RegexOptions.CultureInvariant)]
    private static partial Regex SplitName();
}
