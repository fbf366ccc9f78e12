using Xunit;

namespace Antiphon.Testing;

/// <summary>
/// Finds the reference material that lies beside the repository. It is looked for in the folder that the environment
/// variable <c>ANTIPHON_SHARED</c> names, else in <c>shared</c> beside the checkout. Tests that need it skip, visibly, without it.
/// </summary>
public static class SharedMaterial
{
    private static readonly string? Root = FindRoot();

    /// <summary>Whether the material is there.</summary>
    public static bool Exists => Root is not null;

    /// <summary>The path of a file or folder of the material; skips the running test when it is absent.</summary>
    public static string Path(params string[] parts)
    {
        string? path = TryPath(parts);
        Assert.SkipWhen(path is null, $"shared/{string.Join('/', parts)} is absent (set ANTIPHON_SHARED to its folder)");
        return path!;
    }

    /// <summary>The path of a file or folder of the material, or null when it is absent. For use in <c>MemberData</c>.</summary>
    public static string? TryPath(params string[] parts)
    {
        if (Root is null)
        {
            return null;
        }

        string path = System.IO.Path.Combine([Root, .. parts]);
        return File.Exists(path) || Directory.Exists(path) ? path : null;
    }

    /// <summary>
    /// Names of the entries of a folder that satisfy a condition, for a theory that must discover its cases by listing.
    /// Never empty: without the material it holds one entry, <see cref="Missing"/>, whose test then skips.
    /// </summary>
    public static TheoryData<string> Entries(Func<string, bool> condition, params string[] parts)
    {
        var data = new TheoryData<string>();
        string? folder = TryPath(parts);
        if (folder is not null)
        {
            foreach (string entry in Directory.GetFileSystemEntries(folder).Order(StringComparer.Ordinal).Where(condition))
            {
                data.Add(System.IO.Path.GetFileName(entry));
            }
        }

        if (data.Count == 0)
        {
            data.Add(Missing);
        }

        return data;
    }

    /// <summary>The placeholder case of <see cref="Entries"/>.</summary>
    public const string Missing = "(absent)";

    private static string? FindRoot()
    {
        string? named = Environment.GetEnvironmentVariable("ANTIPHON_SHARED");
        if (!string.IsNullOrEmpty(named))
        {
            return Directory.Exists(named) ? System.IO.Path.GetFullPath(named) : null;
        }

        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(System.IO.Path.Combine(folder.FullName, "Antiphon.slnx")))
            {
                string beside = System.IO.Path.Combine(folder.FullName, "..", "shared");
                return Directory.Exists(beside) ? System.IO.Path.GetFullPath(beside) : null;
            }
        }

        return null;
    }
}
