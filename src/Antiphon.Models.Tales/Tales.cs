using Antiphon.Engine;
using Antiphon.Models;

namespace Antiphon;

/// <summary>
/// Tales, a model of 3.7 million parameters that lies inside this package. It tells stories ("Tell me a story about a fox and a river."), answers
/// questions about them, works out small sums step by step, answers in JSON and calls tools. Anything else it does badly.
/// </summary>
public static class Tales
{
    private const string Resource = "tales.Q8_0.gguf";

    /// <summary>The sampling that suits it.</summary>
    public static SamplingOptions RecommendedSampling { get; } = new() { Temperature = 0.8f, TopP = 0.95f };

    /// <summary>Loads the model. Needs neither files nor a network.</summary>
    /// <inheritdoc cref="LanguageModel.LoadAsync(string, LanguageModelOptions?, IProgress{LoadProgress}?, CancellationToken)"/>
    public static Task<LanguageModel> LoadAsync(
        LanguageModelOptions? options = null, IProgress<LoadProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        options ??= new LanguageModelOptions();
        options = options with { Name = options.Name ?? "Tales", DefaultSampling = options.DefaultSampling ?? RecommendedSampling };
        return LanguageModel.LoadAsync(Open, options, progress, cancellationToken);
    }

    /// <summary>Opens the model's file inside this assembly, without copying it.</summary>
    public static unsafe GgufFile Open()
    {
        // The runtime maps the assembly and gives a resource as a view of that mapping, which lasts as long as the process.
        var stream = (UnmanagedMemoryStream)typeof(Tales).Assembly.GetManifestResourceStream(Resource)!;
        return GgufFile.Open(stream.PositionPointer, stream.Length, Resource, stream);
    }
}
