using System.Diagnostics.CodeAnalysis;
using Microsoft.Extensions.Options;

namespace Antiphon.Server;

/// <summary>Checks the options at start.</summary>
internal sealed class OptionsCheck : IValidateOptions<AntiphonServerOptions>
{
    /// <summary>What names of models are made of.</summary>
    public const string NameRule = "must have 1 to 128 letters, digits or . _ - / :";

    /// <summary>Whether a model may have this name.</summary>
    public static bool IsName([NotNullWhen(true)] string? name) =>
        name?.Length is > 0 and <= 128 && name.All(static c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-' or '/' or ':');

    public ValidateOptionsResult Validate(string? name, AntiphonServerOptions options)
    {
        var failures = new List<string>();
        var names = new HashSet<string>(StringComparer.Ordinal);
        foreach (ServedModelOptions model in options.Models)
        {
            // A configuration may leave out what code cannot.
            if (string.IsNullOrEmpty(model.Path) && model.Loader is null)
            {
                failures.Add($"Models: \"{model.Id}\" has no Path, that of a .gguf file or a model folder");
            }

            foreach (string? id in model.Aliases.Prepend(model.Id))
            {
                if (!IsName(id))
                {
                    failures.Add($"Models: the name \"{id}\" {NameRule}");
                }
                else if (!names.Add(id))
                {
                    failures.Add($"Models: the name \"{id}\" stands twice");
                }
            }
        }

        if (options.ApiKeyFile is string file && !File.Exists(file))
        {
            failures.Add($"ApiKeyFile: there is no file {file}");
        }

        if (options.MaximumBodyBytes is < 1024 or > 1 << 30)
        {
            failures.Add("MaximumBodyBytes: must be from 1024 to 1073741824");
        }

        if (options.AdminPort is < 1 or > 65535)
        {
            failures.Add("AdminPort: must be from 1 to 65535");
        }

        if (options.DrainTimeout < TimeSpan.Zero || options.HeartbeatInterval < TimeSpan.Zero || options.WatchdogTimeout <= TimeSpan.Zero)
        {
            failures.Add("DrainTimeout, HeartbeatInterval, WatchdogTimeout: must not be negative");
        }

        return failures.Count == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(failures);
    }
}
