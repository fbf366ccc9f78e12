namespace Antiphon.Testing;

/// <summary>A folder that is gone after the test.</summary>
public sealed class TemporaryFolder : IDisposable
{
    private readonly string path = Directory.CreateTempSubdirectory("antiphon-test-").FullName;

    public string this[string name] => Path.Combine(path, name);

    public string Write(string name, string text)
    {
        File.WriteAllText(this[name], text);
        return this[name];
    }

    public string Write(string name, byte[] bytes)
    {
        File.WriteAllBytes(this[name], bytes);
        return this[name];
    }

    public string[] Files => [.. Directory.GetFiles(path).Select(f => Path.GetFileName(f)!)];

    public string Folder => path;

    public void Dispose() => Directory.Delete(path, recursive: true);
}
