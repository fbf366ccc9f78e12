namespace Antiphon.Testing;

/// <summary>
/// Finds files of the checkout that the tests were built in, from where they run: the compiler's own paths are rewritten in builds of a CI.
/// </summary>
public static class Repository
{
    /// <summary>The folder of the solution.</summary>
    /// <exception cref="DirectoryNotFoundException">The tests were moved out of their checkout.</exception>
    public static string Root { get; } = Find() ?? throw new DirectoryNotFoundException($"no Antiphon.slnx above {AppContext.BaseDirectory}");

    /// <summary>A file or folder of the checkout.</summary>
    public static string At(params string[] parts) => System.IO.Path.Combine([Root, .. parts]);

    private static string? Find()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(System.IO.Path.Combine(folder.FullName, "Antiphon.slnx")))
            {
                return folder.FullName;
            }
        }

        return null;
    }
}
