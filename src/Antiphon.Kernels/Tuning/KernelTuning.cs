using System.Text.Json;

namespace Antiphon.Kernels.Tuning;

/// <summary>
/// Which of several kernels is fastest on this machine, found while a model computes and kept in a file. Candidates for an operation agree bit for bit, so a
/// choice changes no answer.
/// </summary>
/// <remarks>
/// The file is JSON: for each machine (processor, tier, threads) the chosen candidate of each operation and shape. A damaged file counts as empty, and so does an
/// entry that names a candidate of another version. Safe for several threads.
/// </remarks>
public sealed class KernelTuning
{
    private const int Version = 1;
    private const long MostBytes = 4 << 20;
    private const int MostEntries = 20_000;

    private readonly Lock gate = new();
    private readonly string? path;
    private readonly string machine;
    private readonly Dictionary<string, string> known;
    private readonly Dictionary<string, TuningUnit> units = [];
    private readonly Dictionary<string, MatrixTuning> matrices = [];
    private readonly Dictionary<string, string> made = [];

    /// <summary>Reads what is known of this machine.</summary>
    /// <param name="path">The file, which need not exist; null: choices are made anew and not kept.</param>
    /// <param name="tier">The tier in use.</param>
    /// <param name="threads">Threads of the team.</param>
    public KernelTuning(string? path, KernelTier tier, int threads)
    {
        this.path = path;
        machine = Machine(tier, threads);
        known = Read(path).GetValueOrDefault(machine) ?? [];
    }

    /// <summary>The file; null where choices are not kept.</summary>
    public string? Path => path;

    /// <summary>Whether every operation that was met has its choice.</summary>
    public bool Settled
    {
        get
        {
            lock (gate)
            {
                return units.Values.All(unit => unit.Choice >= 0);
            }
        }
    }

    /// <summary>What was met so far, for people.</summary>
    public IReadOnlyList<TunedOperation> Operations
    {
        get
        {
            lock (gate)
            {
                return [.. units.Values.Select(unit => new TunedOperation(
                    unit.Key, unit.Candidates.Count, unit.Choice < 0 ? null : unit.Candidates[unit.Choice], unit.Candidates[0], unit.Gain))];
            }
        }
    }

    /// <summary>Writes the choices that were made since the last time. What else is in the file stays: other machines, and other models' operations.</summary>
    /// <exception cref="IOException">The file cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be written.</exception>
    public void Save()
    {
        lock (gate)
        {
            if (path is null || made.Count == 0)
            {
                return;
            }

            Dictionary<string, Dictionary<string, string>> machines = Read(path);
            Dictionary<string, string> choices = machines.GetValueOrDefault(machine) ?? [];
            foreach ((string key, string choice) in made)
            {
                choices[key] = choice;
            }

            machines[machine] = choices;
            Write(path, machines);
            made.Clear();
        }
    }

    /// <summary>Drops what a file knows of this machine.</summary>
    /// <param name="path">The file, which need not exist.</param>
    /// <param name="tier">The tier in use.</param>
    /// <param name="threads">Threads of the team.</param>
    /// <exception cref="IOException">The file cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be written.</exception>
    public static void Forget(string? path, KernelTier tier, int threads)
    {
        Dictionary<string, Dictionary<string, string>> machines = Read(path);
        if (path is not null && machines.Remove(Machine(tier, threads)))
        {
            Write(path, machines);
        }
    }

    /// <summary>The choices for matrices of one shape, of which a model may have thousands.</summary>
    /// <param name="operation">Kernel, format and shape.</param>
    /// <param name="classes">Number of classes of batch sizes.</param>
    internal MatrixTuning Matrix(string operation, int classes)
    {
        lock (gate)
        {
            if (!matrices.TryGetValue(operation, out MatrixTuning? matrix))
            {
                matrices[operation] = matrix = new MatrixTuning(this, operation, classes);
            }

            return matrix;
        }
    }

    /// <summary>The unit of an operation on a shape, the same for all matrices of that shape.</summary>
    /// <param name="key">Operation and shape.</param>
    /// <param name="candidates">Names, the default first.</param>
    internal TuningUnit Unit(string key, IReadOnlyList<string> candidates)
    {
        lock (gate)
        {
            if (!units.TryGetValue(key, out TuningUnit? unit))
            {
                int choice = known.TryGetValue(key, out string? name) ? Enumerable.Range(0, candidates.Count).FirstOrDefault(i => candidates[i] == name, -1) : -1;
                units[key] = unit = new TuningUnit(key, candidates, choice);
            }

            return unit;
        }
    }

    /// <summary>Takes in a timed call of <see cref="TuningUnit.Take"/>'s candidate.</summary>
    internal void Observe(TuningUnit unit, int candidate, long ticks)
    {
        if (unit.Observe(candidate, ticks))
        {
            lock (gate)
            {
                made[unit.Key] = unit.Candidates[unit.Choice];
            }
        }
    }

    private static string Machine(KernelTier tier, int threads) =>
        $"{CpuFeatures.Current.Name}, {tier.ToString().ToLowerInvariant()}, {threads} {(threads == 1 ? "thread" : "threads")}";

    private static void Write(string path, Dictionary<string, Dictionary<string, string>> machines)
    {
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(path))!);
        string temporary = $"{path}.{Environment.ProcessId}";
        using (var stream = new FileStream(temporary, FileMode.Create, FileAccess.Write))
        using (var writer = new Utf8JsonWriter(stream, new JsonWriterOptions { Indented = true }))
        {
            writer.WriteStartObject();
            writer.WriteNumber("version", Version);
            writer.WriteStartObject("machines");
            foreach ((string name, Dictionary<string, string> choices) in machines.OrderBy(m => m.Key, StringComparer.Ordinal))
            {
                writer.WriteStartObject(name);
                foreach ((string key, string choice) in choices.OrderBy(c => c.Key, StringComparer.Ordinal))
                {
                    writer.WriteString(key, choice);
                }

                writer.WriteEndObject();
            }

            writer.WriteEndObject();
            writer.WriteEndObject();
        }

        File.Move(temporary, path, overwrite: true);
    }

    private static Dictionary<string, Dictionary<string, string>> Read(string? path)
    {
        Dictionary<string, Dictionary<string, string>> machines = [];
        try
        {
            if (path is null || new FileInfo(path) is not { Exists: true, Length: <= MostBytes })
            {
                return machines;
            }

            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(path));
            JsonElement root = document.RootElement;
            if (root.ValueKind != JsonValueKind.Object || !root.TryGetProperty("version", out JsonElement version) || version.ValueKind != JsonValueKind.Number
                || !version.TryGetInt32(out int number) || number != Version || !root.TryGetProperty("machines", out JsonElement all) || all.ValueKind != JsonValueKind.Object)
            {
                return machines;
            }

            int left = MostEntries;
            foreach (JsonProperty entry in all.EnumerateObject().Where(entry => entry.Value.ValueKind == JsonValueKind.Object))
            {
                Dictionary<string, string> choices = [];
                foreach (JsonProperty choice in entry.Value.EnumerateObject())
                {
                    if (choice.Value.ValueKind == JsonValueKind.String && left-- > 0)
                    {
                        choices[choice.Name] = choice.Value.GetString()!;
                    }
                }

                machines[entry.Name] = choices;
            }
        }
        catch (Exception e) when (e is JsonException or IOException or UnauthorizedAccessException or InvalidOperationException)
        {
            // Measured again; what was read so far is as good as any.
        }

        return machines;
    }
}

/// <summary>An operation on a shape, and what was chosen for it.</summary>
/// <param name="Key">Operation and shape.</param>
/// <param name="Candidates">Number of candidates.</param>
/// <param name="Choice">The chosen one; null while it is measured.</param>
/// <param name="Default">What is used without tuning.</param>
/// <param name="Gain">Time of the choice as a share of the default's; NaN where it was read from the file.</param>
public sealed record TunedOperation(string Key, int Candidates, string? Choice, string Default, double Gain);
