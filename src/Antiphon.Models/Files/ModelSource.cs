namespace Antiphon.Models;

/// <summary>An opened model: its tensors, mapped into memory, under the names of its file. Subclasses add the metadata of their format.</summary>
public abstract class ModelSource : IDisposable
{
    /// <summary>The path that was opened, for messages.</summary>
    public abstract string Path { get; }

    /// <summary>All tensors, in file order.</summary>
    public abstract IReadOnlyList<TensorView> Tensors { get; }

    /// <summary>Finds a tensor by its name in the file.</summary>
    public abstract bool TryGetTensor(string name, out TensorView tensor);

    /// <summary>Bytes of all files together.</summary>
    public abstract long FileBytes { get; }

    /// <summary>Whether every tensor's bytes are a read-only mapping of a file, whose pages can be let go and read again.</summary>
    internal virtual bool IsFileMapping => false;

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Unmaps the files. Views of tensors are invalid from here on.</summary>
    protected abstract void Dispose(bool disposing);
}
