using System.Diagnostics;
using Antiphon.Kernels;
using Antiphon.Kernels.MultiScale;
using Antiphon.Kernels.Packed;

namespace Antiphon.Benchmarks.Matrix;

/// <summary>The matrices of Qwen3-0.6B with random weights: 28 layers and the head.</summary>
internal sealed unsafe class QwenShapes : IDisposable
{
    private const int Layers = 28;
    private static readonly (int Rows, int Columns)[] Shapes = [(2048, 1024), (1024, 1024), (1024, 1024), (1024, 2048), (3072, 1024), (3072, 1024), (1024, 3072)];

    private readonly ComputeTeam team;
    private readonly MultiScaleKernels? split;
    private readonly List<WeightMatrix> layers = [];
    private readonly WeightMatrix head;
    private readonly Dictionary<int, Activations> inputs = [];
    private readonly NativeBuffer<float> output = new(32L * 151936);
    private readonly List<NativeBuffer<byte>> sources = [];

    /// <summary>Packs the matrices of a mix.</summary>
    /// <param name="kernels">Kernels of the bfloat16 path; null where no mix needs them.</param>
    /// <param name="mix">A format or Q4_K_M; behind "int8:" for products of split activations, behind "w8a8:" for those of one pass, behind "exact:" for float32.</param>
    /// <param name="team">Who packs and multiplies.</param>
    public QwenShapes(PackedKernels? kernels, string mix, ComputeTeam team)
    {
        this.team = team;
        bool exact = mix.StartsWith("exact:", StringComparison.Ordinal);
        if (mix.Contains(':', StringComparison.Ordinal))
        {
            split = exact ? null : new MultiScaleKernels(null, mix.StartsWith("w8a8:", StringComparison.Ordinal) ? 1 : 2);
            mix = mix[(mix.IndexOf(':', StringComparison.Ordinal) + 1)..];
        }

        double seconds = 0;
        long packed = 0;
        for (int layer = 0; layer < Layers; layer++)
        {
            for (int i = 0; i < Shapes.Length; i++)
            {
                // Q4_K_M: value and down projections of every other layer have six bits.
                TensorFormat format = mix != "Q4_K_M" ? Enum.Parse<TensorFormat>(mix) : i is 2 or 6 && layer % 2 == 0 ? TensorFormat.Q6_K : TensorFormat.Q4_K;
                layers.Add(Pack(format, Shapes[i].Rows, Shapes[i].Columns));
            }
        }

        head = Pack(mix == "Q4_K_M" ? TensorFormat.Q6_K : Enum.Parse<TensorFormat>(mix), 151936, 1024);
        PackRate = packed / seconds;

        WeightMatrix Pack(TensorFormat format, int rows, int columns)
        {
            NativeBuffer<byte> source = Random(format, rows, columns);
            long start = Stopwatch.GetTimestamp();
            WeightMatrix matrix = split is not null ? split.Pack(format, rows, columns, source.Pointer, source.Length, team)
                : exact ? WeightMatrix.Create(format, rows, columns, source.Pointer, source.Length)
                : kernels!.Pack(format, rows, columns, source.Pointer, source.Length, team);
            seconds += Stopwatch.GetElapsedTime(start).TotalSeconds;
            packed += source.Length;
            if (exact)
            {
                // Read where it lies.
                sources.Add(source);
            }
            else
            {
                source.Dispose();
            }

            return matrix;
        }
    }

    public double PackRate { get; }

    /// <summary>Bytes of all matrices in their files' format.</summary>
    public long Bytes => layers.Sum(matrix => matrix.ByteCount) + head.ByteCount;

    public static double Operations(int tokens, int logits) =>
        2.0 * ((tokens * (double)Layers * Shapes.Sum(shape => (double)shape.Rows * shape.Columns)) + (logits * 151936.0 * 1024));

    /// <summary>Runs every matrix once and returns the seconds taken.</summary>
    public double Multiply(int tokens, int logits)
    {
        // Activations are packed anew where a layer would have new ones: before the projections, the output, gate and up, down.
        foreach (int columns in new[] { 1024, 2048, 3072 })
        {
            Input(tokens, columns);
        }

        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < layers.Count; i += Shapes.Length)
        {
            Together(i, 3);
            Together(i + 3, 1);
            Together(i + 4, 2);
            Together(i + 6, 1);
        }

        inputs[1024].Reset(logits, 1024);
        head.Multiply(inputs[1024], output.Pointer, head.Rows, team);
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    /// <summary>Products with one new input, as query, key and value have: one after the other in the output.</summary>
    private void Together(int first, int count)
    {
        Activations x = inputs[layers[first].Columns];
        x.Reset(x.Rows, x.Columns);
        MatrixOutput[] products = new MatrixOutput[count];
        float* y = output.Pointer;
        for (int i = 0; i < count; i++)
        {
            products[i] = new MatrixOutput(layers[first + i], y, layers[first + i].Rows);
            y += (long)x.Rows * layers[first + i].Rows;
        }

        WeightMatrix.MultiplyAll(products, x, team);
    }

    public void Dispose()
    {
        output.Dispose();
        split?.Dispose();
        sources.ForEach(source => source.Dispose());
        foreach (Activations x in inputs.Values)
        {
            x.Dispose();
        }
    }

    public static NativeBuffer<byte> Random(TensorFormat format, int rows, int columns)
    {
        NativeBuffer<byte> weights = new(rows * format.ByteCount(columns));
        byte[] pattern = new byte[(1 << 16) / format.BlockBytes() * format.BlockBytes()];
        new Random((int)format).NextBytes(pattern);
        for (int i = 1; i < pattern.Length; i += 2)
        {
            // No infinities: the upper bits of anything that may be an exponent stay clear.
            pattern[i] &= 0x3B;
        }

        for (int i = 0; format == TensorFormat.MXFP4 && i < pattern.Length; i += format.BlockBytes())
        {
            // Exponents as models have them: subnormal products would be slow, and measure nothing.
            pattern[i] = 120;
        }

        int width = format switch { TensorFormat.BF16 => 2, TensorFormat.F32 => 4, _ => 0 };
        for (int i = width - 1; width > 0 && i < pattern.Length; i += width)
        {
            // The same for numbers with eight bits of exponent: from 2^-9 to 2.
            pattern[i] = (byte)((pattern[i] & 0x80) | 0x3B | ((pattern[i] & 1) << 2));
        }

        for (long at = 0; at < weights.Length; at += pattern.Length)
        {
            Span<byte> room = weights.Span(at, (int)Math.Min(pattern.Length, weights.Length - at));
            pattern.AsSpan(0, room.Length).CopyTo(room);
        }

        return weights;
    }

    private void Input(int tokens, int columns)
    {
        if (!inputs.TryGetValue(columns, out Activations? x))
        {
            inputs.Add(columns, x = new Activations());
        }

        x.Reset(tokens, columns);
        for (int i = 0; i < tokens; i++)
        {
            for (int c = 0; c < columns; c++)
            {
                x.Row(i)[c] = (((i * 31) + (c * 17)) % 256 / 128f) - 1;
            }
        }
    }
}
