namespace Antiphon.Text;

/// <summary>
/// What a template may use. Templates come inside model files, so they are as hostile as any download:
/// each limit ends a render with a <see cref="TemplateException"/> of kind <see cref="TemplateErrorKind.Limit"/>.
/// </summary>
public sealed record TemplateLimits
{
    /// <summary>The defaults: far above what published templates need, low enough to end any of them within a second.</summary>
    public static TemplateLimits Default { get; } = new();

    /// <summary>The length of the source, in UTF-16 units.</summary>
    public int MaxSourceLength { get; init; } = 2_000_000;

    /// <summary>How deep blocks and expressions nest in the source, and lists and dictionaries in a value (1 to 500).</summary>
    public int MaxNesting { get; init; } = 150;

    /// <summary>How deep macros, call blocks and recursive loops call each other (1 to 500).</summary>
    public int MaxCallDepth { get; init; } = 150;

    /// <summary>Fuel: evaluated nodes, and a share for each item and each few characters that an operation walks over.</summary>
    public long MaxSteps { get; init; } = 3_000_000;

    /// <summary>The length of the rendered text, in UTF-16 units.</summary>
    public int MaxOutputLength { get; init; } = 32_000_000;

    /// <summary>Bytes that values made while rendering may take, all added up, whether still in use or not.</summary>
    public long MaxAllocatedBytes { get; init; } = 128_000_000;

    /// <summary>Wall-clock time of one render.</summary>
    public TimeSpan MaxTime { get; init; } = TimeSpan.FromMilliseconds(750);
}
