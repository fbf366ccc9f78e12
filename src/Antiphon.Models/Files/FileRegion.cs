using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>
/// A run of readable bytes that belongs to a model file, and the one place where a tensor's size and position, as a file claims them,
/// are turned into an address. All arithmetic is overflow-checked here and nowhere else.
/// </summary>
internal readonly unsafe struct FileRegion(string path, byte* start, long length)
{
    /// <summary>The file, for messages.</summary>
    public string Path { get; } = path;

    /// <summary>The first byte.</summary>
    public byte* Start { get; } = start;

    /// <summary>Number of bytes.</summary>
    public long Length { get; } = length;

    /// <summary>As many of the first bytes as fit in a span.</summary>
    public ReadOnlySpan<byte> Head => new(Start, (int)Math.Min(Length, Array.MaxLength));

    /// <summary>Everything from an offset on; empty when the offset is past the end.</summary>
    public FileRegion From(long offset) =>
        offset >= 0 && offset <= Length ? new(Path, Start + offset, Length - offset) : new(Path, Start, 0);

    /// <summary>A tensor whose bytes begin at <paramref name="offset"/> in this region.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="format">Its format.</param>
    /// <param name="shape">Its dimensions as the file claims them, outermost first.</param>
    /// <param name="offset">Its first byte, as the file claims it.</param>
    /// <exception cref="ModelFormatException">A dimension is negative, rows are no whole blocks, or the tensor does not lie inside the region.</exception>
    public TensorView Tensor(string name, TensorFormat format, long[] shape, ulong offset)
    {
        long bytes = SizeOf(name, format, shape);
        if (offset > (ulong)Length || (ulong)bytes > (ulong)Length - offset)
        {
            throw new ModelFormatException(
                $"{Path}: tensor '{name}' needs {bytes} bytes at offset {offset}, but only {Length} bytes of tensor data are there; the file is truncated or damaged: fetch it again");
        }

        return new TensorView(name, format, shape, (nint)(Start + offset), bytes);
    }

    private long SizeOf(string name, TensorFormat format, long[] shape)
    {
        long elements = 1;
        try
        {
            foreach (long dimension in shape)
            {
                ArgumentOutOfRangeException.ThrowIfNegative(dimension);
                elements = checked(elements * dimension);
            }

            long row = shape.Length == 0 ? 1 : shape[^1];
            if (row % format.BlockElements() != 0)
            {
                throw new ModelFormatException(
                    $"{Path}: tensor '{name}' has rows of {row} values, which are no whole number of {format} blocks of {format.BlockElements()}; the file is damaged or was written wrongly");
            }

            return format.ByteCount(elements);
        }
        catch (Exception e) when (e is OverflowException or ArgumentOutOfRangeException)
        {
            throw new ModelFormatException(
                $"{Path}: tensor '{name}' has impossible dimensions [{string.Join(", ", shape)}]; the file is damaged: fetch it again");
        }
    }
}
