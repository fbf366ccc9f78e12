using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Antiphon.Cli.Making;

namespace Antiphon.Cli.Commands;

/// <summary><c>antiphon make-model</c>: a model of a known shape with random weights, to measure with.</summary>
internal static class MakeModelCommand
{
    /// <summary>Creates the command.</summary>
    public static Command Create(Session session)
    {
        string shapes = string.Join(", ", ModelShape.All.Select(s => s.Name));
        string types = string.Join(", ", TypeMix.All.Select(m => m.Name));
        Argument<string[]> words = Checked.Positionals("SHAPE", $"The sizes: {shapes}", 1, 1);
        var format = new Option<string>("--format") { Description = $"The weights' type (default Q8_0): {types}", HelpName = "TYPE", DefaultValueFactory = _ => "Q8_0" };
        var output = new Option<string?>("--output", "-o") { Description = "The file (default: SHAPE-TYPE.gguf here); must not exist yet", HelpName = "FILE" };
        Option<int?> seed = Checked.Whole("--seed", "The same seed gives the same bytes (default 0)", 0, int.MaxValue);
        var command = new TaughtCommand(
            "make-model",
            "Writes a GGUF file with random weights and a synthetic vocabulary, of the exact sizes of a published model: it says nothing sensible, but as fast as the real one.",
            "antiphon make-model qwen3-0.6b --format Q8_0 --output /tmp/qwen3.gguf",
            "antiphon make-model llama-3.2-1b --format Q4_K_M",
            "antiphon make-model tiny --seed 7 --output tiny.gguf") { words, format, output, seed };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            string wanted = parsed.GetValue(words)![0];
            ModelShape shape = ModelShape.All.FirstOrDefault(s => s.Name.Equals(wanted, StringComparison.OrdinalIgnoreCase))
                ?? throw new CommandException($"'{wanted}' is no known shape; choose one of {shapes}", ExitCode.Usage);
            string type = parsed.GetValue(format)!;
            TypeMix mix = TypeMix.All.FirstOrDefault(m => m.Name.Equals(type, StringComparison.OrdinalIgnoreCase))
                ?? throw new CommandException($"--format '{type}' is no known type; choose one of {types}", ExitCode.Usage);
            string path = parsed.GetValue(output) ?? $"{shape.Name}-{mix.Name}.gguf";
            var model = new RandomModel(shape, mix, (ulong)(parsed.GetValue(seed) ?? 0));
            long start = Stopwatch.GetTimestamp();
            long bytes = await session.Terminal.WithProgressAsync(
                $"Writing {Path.GetFileName(path)}", progress => Task.Run(() => Write(model, path, progress, cancellationToken), cancellationToken)).ConfigureAwait(false);
            session.Terminal.Out.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"{path}: {Sizes.Count(model.Parameters)} parameters, {Sizes.Bytes(bytes)}, in {Stopwatch.GetElapsedTime(start).TotalSeconds:0.0} s"));
            return ExitCode.Success;
        });
        return command;
    }

    /// <summary>Writes under another name first: the file is there whole, or not at all.</summary>
    private static long Write(RandomModel model, string path, IProgress<(double Share, string Note)> progress, CancellationToken cancellationToken)
    {
        string whole = Path.GetFullPath(path);
        if (Path.GetDirectoryName(whole) is not { } folder || !Directory.Exists(folder))
        {
            throw new CommandException($"{path}: its folder does not exist; create it first");
        }

        if (Path.Exists(whole))
        {
            throw new CommandException($"{path}: is there already; delete it first or choose another --output");
        }

        string partial = $"{whole}.{Guid.NewGuid():N}.part";
        try
        {
            long bytes;
            using (var file = new FileStream(partial, new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, BufferSize = 0, PreallocationSize = model.TensorBytes }))
            {
                model.Write(file, progress, cancellationToken);
                bytes = file.Length;
            }

            File.Move(partial, whole);
            return bytes;
        }
        catch
        {
            File.Delete(partial);
            throw;
        }
    }
}
