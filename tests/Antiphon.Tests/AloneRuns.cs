namespace Antiphon.Tests;

/// <summary>Tests that watch the memory of the process: no other test runs meanwhile.</summary>
[CollectionDefinition(nameof(AloneRuns), DisableParallelization = true)]
public sealed class AloneRuns;
