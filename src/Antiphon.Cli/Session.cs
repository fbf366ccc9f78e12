using Antiphon.Kernels;
using Antiphon.Kernels.Tuning;
using Antiphon.Models;

namespace Antiphon.Cli;

/// <summary>What every command needs: the terminal, Ctrl-C, and a way to a model.</summary>
internal sealed class Session(Terminal terminal, Interrupts interrupts)
{
    /// <summary>The terminal.</summary>
    public Terminal Terminal { get; } = terminal;

    /// <summary>Ctrl-C.</summary>
    public Interrupts Interrupts { get; } = interrupts;

    /// <summary>Opens a model's files; null: Tales.</summary>
    public static ModelSource Open(string? path) => path is null ? Tales.Open() : ModelFiles.Open(path);

    /// <summary>Loads a model so that it answers; null: Tales.</summary>
    public Task<LanguageModel> LoadAsync(string? path, LanguageModelOptions options, CancellationToken cancellationToken) =>
        Terminal.WithProgressAsync(
            $"Loading {Name(path)}",
            progress =>
            {
                var report = new Relay(progress);
                return path is null ? Tales.LoadAsync(options, report, cancellationToken) : LanguageModel.LoadAsync(path, options, report, cancellationToken);
            });

    /// <summary>Loads a model for measurements, without an engine; null: Tales. The team that the options name stays the caller's.</summary>
    public Task<LoadedModel> LoadForMeasuringAsync(string? path, ModelLoadOptions options, CancellationToken cancellationToken) =>
        Terminal.WithProgressAsync(
            $"Loading {Name(path)}",
            progress => Task.Run(
                () =>
                {
                    ModelSource source = Open(path);
                    try
                    {
                        return ModelLoader.Load(source, options with { Progress = new Share(progress, cancellationToken) });
                    }
                    catch
                    {
                        source.Dispose();
                        throw;
                    }
                },
                cancellationToken));

    /// <summary>A short name for messages.</summary>
    public static string Name(string? path) => path is null ? "Tales" : Path.GetFileName(path.TrimEnd('/', '\\'));

    private sealed class Relay(IProgress<(double Share, string Note)> inner) : IProgress<LoadProgress>
    {
        public void Report(LoadProgress value) => inner.Report((value.Fraction, value.Stage));
    }

    private sealed class Share(IProgress<(double Share, string Note)> inner, CancellationToken cancellationToken) : IProgress<double>
    {
        public void Report(double value)
        {
            cancellationToken.ThrowIfCancellationRequested();
            inner.Report((value, ""));
        }
    }
}
