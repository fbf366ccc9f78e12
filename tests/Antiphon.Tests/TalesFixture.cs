[assembly: AssemblyFixture(typeof(Antiphon.Tests.TalesFixture))]

namespace Antiphon.Tests;

/// <summary>One loaded Tales that all tests share, as applications do.</summary>
public sealed class TalesFixture : IAsyncLifetime
{
    public LanguageModel Model { get; private set; } = null!;

    public async ValueTask InitializeAsync() => Model = await Tales.LoadAsync();

    public ValueTask DisposeAsync() => Model.DisposeAsync();
}
