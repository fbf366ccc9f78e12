using System.CommandLine;
using Antiphon.Models;

namespace Antiphon.Cli;

/// <summary>How products with weight matrices are computed: <c>--precision</c>, and <c>--exact</c> as a short form of one choice.</summary>
internal sealed class PrecisionOption
{
    private readonly Option<bool> exact = new("--exact") { Description = "The same as --precision exact" };

    private readonly Option<MatrixPrecision?> precision = Checked.Choice(
        "--precision",
        "exact: float32, with the same bits on every processor; fast (default): rounded to bfloat16 where this processor has machine code for it, "
            + "as int8 where it has AVX2 but not the instructions for that, and for half precision; "
            + "int8: quantised weights stay integers, 16-bit floats become some of 12 bits and activations of 16, the same bits on every processor, fastest for single answers; "
            + "w8a8: 8-bit activations, which is visibly less accurate",
        ("exact", MatrixPrecision.Exact), ("fast", MatrixPrecision.Fast), ("int8", MatrixPrecision.Int8), ("w8a8", MatrixPrecision.Int8OnePass));

    /// <summary>Adds the options to a command.</summary>
    public PrecisionOption(Command command)
    {
        command.Add(precision);
        command.Add(exact);
        command.Validators.Add(result =>
        {
            if (result.GetValue(exact) && result.GetValue(precision) is { } chosen && chosen != MatrixPrecision.Exact)
            {
                result.AddError("--exact and --precision say different things; leave one out");
            }
        });
    }

    /// <summary>What the options choose.</summary>
    public MatrixPrecision Read(ParseResult parsed) => parsed.GetValue(exact) ? MatrixPrecision.Exact : parsed.GetValue(precision) ?? MatrixPrecision.Fast;
}
