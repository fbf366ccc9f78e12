using Antiphon.Kernels.Jit;
using Antiphon.Kernels.Packed;

namespace Antiphon.Kernels.Tiled;

/// <summary>The kernels for one kind of attention: sizes of keys and values, and how they are cached.</summary>
internal sealed class TiledKernels : IDisposable
{
    private readonly GeneratedCode[] blocks;

    /// <summary>Generates the kernels.</summary>
    /// <exception cref="CodeGenerationException">The system denies executable memory.</exception>
    public TiledKernels(in AttentionShape shape, TensorFormat keys, TensorFormat values)
    {
        KeySize = shape.KeySize;
        ValueSize = shape.ValueSize;
        KeyFormat = keys;
        ValueFormat = values;
        int keySize = TiledSizes.Padded(KeySize);
        int valueSize = TiledSizes.Padded(ValueSize);
        blocks = [.. Enumerable.Range(0, 4).Select(i => BlockKernel.Generate(keySize, valueSize, 1 + (i / 2), i % 2 == 1))];
        Queries = RowKernels.GenerateColumns(KeySize);
        KeyRows = RowKernels.GenerateRows(keys, KeySize);
        ValueRows = RowKernels.GenerateRows(values, ValueSize);
        Values = RowKernels.GenerateValues(valueSize, 0);
        ValuesAhead = RowKernels.GenerateValues(valueSize, 2 * keySize);
        Outputs = RowKernels.GenerateOutputs(ValueSize);
    }

    /// <summary>The kernels, for people.</summary>
    public IEnumerable<GeneratedKernel> Generated =>
    [
        Made("attention blocks", KeyFormat, $"16 or 32 queries, keys of {KeySize}, values of {ValueSize}", [.. blocks]),
        Made("attention rows", KeyFormat, $"keys of {KeySize}", Queries, KeyRows),
        Made("attention rows", ValueFormat, $"values of {ValueSize}", ValueRows, Values, ValuesAhead, Outputs),
    ];

    public int KeySize { get; }

    public int ValueSize { get; }

    public TensorFormat KeyFormat { get; }

    public TensorFormat ValueFormat { get; }

    /// <summary>Packs 16 queries.</summary>
    public GeneratedCode Queries { get; }

    /// <summary>Rounds key rows.</summary>
    public GeneratedCode KeyRows { get; }

    /// <summary>Rounds value rows.</summary>
    public GeneratedCode ValueRows { get; }

    /// <summary>Packs 32 rounded value rows.</summary>
    public GeneratedCode Values { get; }

    /// <summary>Packs 32 rounded value rows and asks for rows ahead.</summary>
    public GeneratedCode ValuesAhead { get; }

    /// <summary>Writes the outputs of 16 queries.</summary>
    public GeneratedCode Outputs { get; }

    /// <summary>The kernel for blocks of keys.</summary>
    public GeneratedCode Blocks(int groups, bool masked) => blocks[(2 * groups) - (masked ? 1 : 2)];

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (GeneratedCode code in (ReadOnlySpan<GeneratedCode>)[.. blocks, Queries, KeyRows, ValueRows, Values, ValuesAhead, Outputs])
        {
            code.Dispose();
        }
    }

    private static GeneratedKernel Made(string operation, TensorFormat format, string shape, params GeneratedCode[] code) =>
        new(operation, format, shape, KernelTier.Amx, code.Sum(one => one.Length));
}
