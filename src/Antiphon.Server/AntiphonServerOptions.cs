namespace Antiphon.Server;

/// <summary>A model that a server offers.</summary>
public sealed record ServedModelOptions
{
    /// <summary>Its name in requests: 1 to 128 characters, letters, digits and <c>. _ - / :</c>.</summary>
    public required string Id { get; set; }

    /// <summary>The file or folder.</summary>
    public required string Path { get; set; }

    /// <summary>Loads the model in another way than from <see cref="Path"/>, which then only serves messages; null: from the path.</summary>
    public Func<LanguageModelOptions, CancellationToken, Task<LanguageModel>>? Loader { get; set; }

    /// <summary>Further names.</summary>
    public IList<string> Aliases { get; set; } = [];

    /// <summary>How it is loaded and run.</summary>
    public LanguageModelOptions Load { get; set; } = new();

    /// <summary>Unload after this time without a request, and load again when asked for; null (the default): it stays.</summary>
    public TimeSpan? KeepAlive { get; set; }

    /// <summary>Load at start, before the server reports that it is ready; default true.</summary>
    public bool Preload { get; set; } = true;
}

/// <summary>How the server answers. Checked at start.</summary>
public sealed class AntiphonServerOptions
{
    /// <summary>The models. A request that names none gets the first.</summary>
    public IList<ServedModelOptions> Models { get; } = [];

    /// <summary>Keys, one of which each request must bring (<c>Authorization: Bearer …</c> or <c>X-Api-Key</c>). None, and no key file: no key is asked for.</summary>
    public IList<string> ApiKeys { get; } = [];

    /// <summary>A file with one key a line; empty lines and lines that begin with # do not count.</summary>
    public string? ApiKeyFile { get; set; }

    /// <summary>Keys for the management endpoints; none: those of <see cref="ApiKeys"/>.</summary>
    public IList<string> AdminKeys { get; } = [];

    /// <summary>The port on which alone the management endpoints answer; null (the default): they are off.</summary>
    public int? AdminPort { get; set; }

    /// <summary>Whether <c>/metrics</c> needs no key; default false.</summary>
    public bool PublicMetrics { get; set; }

    /// <summary>Whether <c>/metrics</c> also carries vLLM's own names; default false.</summary>
    public bool VllmMetricNames { get; set; }

    /// <summary>Whether callers with different keys never share cached prefixes; default true.</summary>
    public bool IsolateCacheByKey { get; set; } = true;

    /// <summary>Host names that requests may carry; empty: localhost and the addresses listened on. <c>*</c> allows any.</summary>
    public IList<string> AllowedHosts { get; } = ["localhost", "127.0.0.1", "[::1]"];

    /// <summary>Origins that browsers may call from; none (the default): cross-origin calls are refused.</summary>
    public IList<string> CorsOrigins { get; } = [];

    /// <summary>Largest body in bytes; default 16 MiB.</summary>
    public long MaximumBodyBytes { get; set; } = 16 << 20;

    /// <summary>Most messages in a conversation; default 4096.</summary>
    public int MaximumMessages { get; set; } = 4096;

    /// <summary>Most tools; default 512.</summary>
    public int MaximumTools { get; set; } = 512;

    /// <summary>Most prompts in one completion request; default 64.</summary>
    public int MaximumPrompts { get; set; } = 64;

    /// <summary>Pause after which a silent stream gets a comment; zero: never. Default 15 s.</summary>
    public TimeSpan HeartbeatInterval { get; set; } = TimeSpan.FromSeconds(15);

    /// <summary>How long requests may finish after a request to stop; default 30 s.</summary>
    public TimeSpan DrainTimeout { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>How long one step may take before <c>/health</c> reports the engine as stuck; default 120 s.</summary>
    public TimeSpan WatchdogTimeout { get; set; } = TimeSpan.FromSeconds(120);

    /// <summary>Whether header lines that coding agents change with every turn are left out of system prompts; default true.</summary>
    public bool StripVolatileHeaders { get; set; } = true;
}
