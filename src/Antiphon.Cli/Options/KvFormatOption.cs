using System.CommandLine;
using Antiphon.Models;

namespace Antiphon.Cli;

/// <summary>How keys and values are kept in the cache: <c>--kv-format</c>.</summary>
internal sealed class KvFormatOption
{
    private readonly Option<KvFormat?> format = Checked.Choice(
        "--kv-format",
        "How keys and values are cached: f32 (exact), f16, bf16, or i16 (integers of 12 bits with a scale for each row: nearer to exact than bf16); "
            + "auto (default): f32 with --precision exact, int8 and w8a8, else what attention is fastest with here",
        ("auto", KvFormat.Auto), ("f32", KvFormat.F32), ("f16", KvFormat.F16), ("bf16", KvFormat.BF16), ("i16", KvFormat.I16));

    /// <summary>Adds the option to a command.</summary>
    public KvFormatOption(Command command) => command.Add(format);

    /// <summary>What the option chooses.</summary>
    public KvFormat Read(ParseResult parsed) => parsed.GetValue(format) ?? KvFormat.Auto;
}
