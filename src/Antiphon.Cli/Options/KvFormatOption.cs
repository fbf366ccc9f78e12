using System.CommandLine;
using Antiphon.Models;

namespace Antiphon.Cli;

/// <summary>How keys and values are kept in the cache: <c>--kv-format</c>.</summary>
internal sealed class KvFormatOption
{
    private readonly Option<KvFormat?> format = new("--kv-format")
    {
        Description = "How keys and values are cached: f32 (exact), f16, bf16, or i16 (integers of 12 bits with a scale for each row: nearer to exact than bf16); "
            + "auto (default): f32 with --precision exact, int8 and w8a8, else what attention is fastest with here",
        HelpName = "auto|f32|f16|bf16|i16",
        CustomParser = result =>
        {
            switch (result.Tokens[0].Value)
            {
                case "auto":
                    return KvFormat.Auto;
                case "f32":
                    return KvFormat.F32;
                case "f16":
                    return KvFormat.F16;
                case "bf16":
                    return KvFormat.BF16;
                case "i16":
                    return KvFormat.I16;
                default:
                    result.AddError($"--kv-format '{result.Tokens[0].Value}' must be auto, f32, f16, bf16 or i16");
                    return null;
            }
        },
    };

    /// <summary>Adds the option to a command.</summary>
    public KvFormatOption(Command command) => command.Add(format);

    /// <summary>What the option chooses.</summary>
    public KvFormat Read(ParseResult parsed) => parsed.GetValue(format) ?? KvFormat.Auto;
}
