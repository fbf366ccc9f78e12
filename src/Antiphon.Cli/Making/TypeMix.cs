using Antiphon.Kernels;

namespace Antiphon.Cli.Making;

/// <summary>Which format each matrix of a file has. Most types have one format; some have a finer one for the matrices where it tells most, chosen as llama.cpp does.</summary>
/// <param name="Name">Its name on the command line.</param>
/// <param name="FileType">The number of general.file_type.</param>
/// <param name="Most">The format of most matrices.</param>
/// <param name="Finer">The format of the value and down projections of about half of the layers.</param>
internal sealed record TypeMix(string Name, int FileType, TensorFormat Most, TensorFormat Finer)
{
    /// <summary>The types.</summary>
    public static IReadOnlyList<TypeMix> All { get; } =
    [
        Plain("F32", 0, TensorFormat.F32),
        Plain("BF16", 32, TensorFormat.BF16),
        Plain("F16", 1, TensorFormat.F16),
        Plain("Q8_0", 7, TensorFormat.Q8_0),
        Plain("Q6_K", 18, TensorFormat.Q6_K),
        new("Q5_K_M", 17, TensorFormat.Q5_K, TensorFormat.Q6_K),
        Plain("Q5_1", 9, TensorFormat.Q5_1),
        Plain("Q5_0", 8, TensorFormat.Q5_0),
        new("Q4_K_M", 15, TensorFormat.Q4_K, TensorFormat.Q6_K),
        Plain("Q4_1", 3, TensorFormat.Q4_1),
        Plain("Q4_0", 2, TensorFormat.Q4_0),
        Plain("IQ4_NL", 25, TensorFormat.IQ4_NL),
    ];

    /// <summary>The format of a layer's matrix.</summary>
    /// <param name="role">Its GGUF name without the layer.</param>
    /// <param name="layer">Which layer.</param>
    /// <param name="layers">How many there are.</param>
    /// <param name="columns">Length of a row.</param>
    public TensorFormat OfLayer(string role, int layer, int layers, int columns)
    {
        bool told = layer < layers / 8 || layer >= 7 * layers / 8 || (layer - (layers / 8)) % 3 == 2;
        return Fitting(role is "attn_v" or "ffn_down" && told ? Finer : Most, columns);
    }

    /// <summary>The format of the embedding table, which is the head too: six bits at least.</summary>
    public TensorFormat OfEmbeddings(int columns) => Fitting(
        Most is TensorFormat.F32 or TensorFormat.F16 or TensorFormat.BF16 or TensorFormat.Q8_0 ? Most
        : columns % TensorFormat.Q6_K.BlockElements() == 0 ? TensorFormat.Q6_K : TensorFormat.Q8_0, columns);

    private static TypeMix Plain(string name, int fileType, TensorFormat format) => new(name, fileType, format, format);

    /// <summary>Rows that are not whole super-blocks take the next format with small blocks.</summary>
    private static TensorFormat Fitting(TensorFormat format, int columns) => columns % format.BlockElements() == 0 ? format : format switch
    {
        TensorFormat.Q4_K => TensorFormat.Q5_0,
        TensorFormat.Q5_K => TensorFormat.Q5_1,
        _ => TensorFormat.Q8_0,
    };
}
