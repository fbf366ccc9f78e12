namespace Antiphon.Cli;

/// <summary>Where the command keeps which kernels are fastest on this machine.</summary>
internal static class TuningFile
{
    /// <summary>In the user's folder for caches; null where there is none.</summary>
    public static string? Path
    {
        get
        {
            string? folder = Environment.GetEnvironmentVariable("XDG_CACHE_HOME");
            if (string.IsNullOrEmpty(folder))
            {
                string home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile);
                folder = OperatingSystem.IsWindows() ? Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData)
                    : home.Length == 0 ? ""
                    : System.IO.Path.Combine(home, OperatingSystem.IsMacOS() ? "Library/Caches" : ".cache");
            }

            return folder.Length == 0 ? null : System.IO.Path.Combine(folder, "antiphon", "tuning.json");
        }
    }
}
