namespace Antiphon.Conformance.Models;

/// <summary>Tests that keep a team of threads busy run one after the other.</summary>
[CollectionDefinition(nameof(ModelRuns))]
public sealed class ModelRuns;
