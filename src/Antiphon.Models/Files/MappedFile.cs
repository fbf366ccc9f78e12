using System.IO.MemoryMappedFiles;

namespace Antiphon.Models;

/// <summary>A whole file mapped read-only into memory: pages come from the page cache when they are touched, nothing is copied.</summary>
internal sealed unsafe class MappedFile : IDisposable
{
    private readonly MemoryMappedFile file;
    private readonly MemoryMappedViewAccessor view;
    private bool disposed;

    private MappedFile(string path, MemoryMappedFile file, long length)
    {
        this.file = file;
        view = file.CreateViewAccessor(0, length, MemoryMappedFileAccess.Read);
        byte* start = null;
        view.SafeMemoryMappedViewHandle.AcquirePointer(ref start);
        Region = new FileRegion(path, start + view.PointerOffset, length);
    }

    /// <summary>The bytes; valid until the mapping is disposed.</summary>
    public FileRegion Region { get; }

    /// <summary>Maps a file.</summary>
    /// <exception cref="ModelFormatException">It does not exist, is empty or cannot be read.</exception>
    public static MappedFile Open(string path)
    {
        try
        {
            var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, 1, FileOptions.None);
            try
            {
                long length = stream.Length;
                if (length == 0)
                {
                    throw new ModelFormatException($"{path}: the file is empty; fetch it again");
                }

                return new MappedFile(
                    path, MemoryMappedFile.CreateFromFile(stream, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: false), length);
            }
            catch
            {
                stream.Dispose();
                throw;
            }
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new ModelFormatException($"{path}: there is no such file; check the path", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException or ArgumentException)
        {
            throw new ModelFormatException($"{path}: cannot be read ({e.Message}); check that it is a plain file and that you may read it", e);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (!disposed)
        {
            disposed = true;
            view.SafeMemoryMappedViewHandle.ReleasePointer();
            view.Dispose();
            file.Dispose();
        }
    }
}
