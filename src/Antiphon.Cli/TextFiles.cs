using System.Text;

namespace Antiphon.Cli;

/// <summary>Files that commands read and write.</summary>
internal static class TextFiles
{
    /// <summary>Reads a text file.</summary>
    /// <exception cref="CommandException">There is none, or it cannot be read.</exception>
    public static string Read(string path)
    {
        if (Directory.Exists(path))
        {
            throw new CommandException($"{path}: is a folder; name a file");
        }

        if (!File.Exists(path))
        {
            throw new CommandException($"{path}: there is no such file; check the path");
        }

        return File.ReadAllText(path);
    }

    /// <summary>Writes a text file whole: it is there complete, or as it was.</summary>
    public static void Write(string path, string text)
    {
        string whole = Path.GetFullPath(path);
        if (Path.GetDirectoryName(whole) is not { } folder || !Directory.Exists(folder))
        {
            throw new CommandException($"{path}: its folder does not exist; create it first");
        }

        string partial = $"{whole}.{Guid.NewGuid():N}.part";
        try
        {
            File.WriteAllText(partial, text, new UTF8Encoding(false));
            File.Move(partial, whole, overwrite: true);
        }
        catch
        {
            File.Delete(partial);
            throw;
        }
    }
}
