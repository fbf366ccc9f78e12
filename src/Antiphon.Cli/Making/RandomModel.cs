using Antiphon.Kernels;
using Antiphon.Models;

namespace Antiphon.Cli.Making;

/// <summary>Writes a GGUF file with random weights.</summary>
internal sealed class RandomModel
{
    private const int ChunkPieces = 1 << 12;

    private readonly ModelShape shape;
    private readonly TypeMix mix;
    private readonly ulong seed;
    private readonly List<Tensor> tensors = [];
    private readonly Dictionary<(TensorFormat Format, float Deviation), RandomBlocks> banks = [];

    /// <summary>Plans the tensors.</summary>
    public RandomModel(ModelShape shape, TypeMix mix, ulong seed)
    {
        this.shape = shape;
        this.mix = mix;
        this.seed = seed;
        int queries = shape.Heads * shape.HeadSize;
        int keys = shape.KeyValueHeads * shape.HeadSize;
        tensors.Add(new("token_embd.weight", mix.OfEmbeddings(shape.Width), [shape.Vocabulary, shape.Width]));
        for (int layer = 0; layer < shape.Layers; layer++)
        {
            Norm("attn_norm", shape.Width);
            Matrix("attn_q", queries, shape.Width);
            Matrix("attn_k", keys, shape.Width);
            Matrix("attn_v", keys, shape.Width);
            Matrix("attn_output", shape.Width, queries);
            if (shape.HeadNorms)
            {
                Norm("attn_q_norm", shape.HeadSize);
                Norm("attn_k_norm", shape.HeadSize);
            }

            Norm("ffn_norm", shape.Width);
            Matrix("ffn_gate", shape.InnerWidth, shape.Width);
            Matrix("ffn_up", shape.InnerWidth, shape.Width);
            Matrix("ffn_down", shape.Width, shape.InnerWidth);

            void Norm(string role, int width) => tensors.Add(new($"blk.{layer}.{role}.weight", TensorFormat.F32, [width]));
            void Matrix(string role, int rows, int columns) =>
                tensors.Add(new($"blk.{layer}.{role}.weight", mix.OfLayer(role, layer, shape.Layers, columns), [rows, columns]));
        }

        tensors.Add(new("output_norm.weight", TensorFormat.F32, [shape.Width]));
        if (shape.ScaledFrom > 0)
        {
            tensors.Add(new("rope_freqs.weight", TensorFormat.F32, [shape.HeadSize / 2]));
        }
    }

    /// <summary>Bytes of all tensors.</summary>
    public long TensorBytes => tensors.Sum(t => t.Bytes);

    /// <summary>Number of weights.</summary>
    public long Parameters => tensors.Sum(t => t.Elements);

    /// <summary>Writes the file. The same seed gives the same bytes, on any number of processors.</summary>
    public void Write(Stream stream, IProgress<(double Share, string Note)> progress, CancellationToken cancellationToken)
    {
        var writer = new GgufWriter(stream);
        AddMetadata(writer);
        foreach (Tensor tensor in tensors)
        {
            writer.AddTensor(tensor.Name, tensor.Format, [.. tensor.Shape.Select(d => (long)d)]);
        }

        long written = 0;
        byte[] buffer = [];
        for (int index = 0; index < tensors.Count; index++)
        {
            Tensor tensor = tensors[index];
            if (tensor.Shape.Length == 1)
            {
                float[] values = tensor.Name == "rope_freqs.weight" ? FrequencyFactors() : [.. Enumerable.Repeat(1f, tensor.Shape[0])];
                byte[] bytes = new byte[tensor.Bytes];
                BlockEncoder.Encode(TensorFormat.F32, values, bytes);
                writer.Write(bytes);
                continue;
            }

            float deviation = RandomBlocks.Deviation(tensor.Format, tensor.Shape[1]);
            if (!banks.TryGetValue((tensor.Format, deviation), out RandomBlocks? bank))
            {
                banks[(tensor.Format, deviation)] = bank = new RandomBlocks(tensor.Format, deviation, seed);
            }

            // As many chunks at a time as keep all processors busy, then to the file in order.
            int chunkBytes = (int)tensor.Format.ByteCount(ChunkPieces * (long)RandomBlocks.PieceValues);
            int batch = 4 * Environment.ProcessorCount;
            if (buffer.Length < batch * chunkBytes)
            {
                buffer = new byte[batch * chunkBytes];
            }

            int chunks = (int)((tensor.Bytes + chunkBytes - 1) / chunkBytes);
            for (int first = 0; first < chunks; first += batch)
            {
                cancellationToken.ThrowIfCancellationRequested();
                progress.Report((written / (double)TensorBytes, ""));
                int bytes = (int)Math.Min((long)batch * chunkBytes, tensor.Bytes - ((long)first * chunkBytes));
                Parallel.For(0, (bytes + chunkBytes - 1) / chunkBytes, i => bank.Fill(
                    buffer.AsSpan(i * chunkBytes, Math.Min(chunkBytes, bytes - (i * chunkBytes))),
                    new SplitMix(seed + 1, ((ulong)index << 32) + (ulong)(first + i))));
                writer.Write(buffer.AsSpan(0, bytes));
                written += bytes;
            }
        }

        writer.Finish();
    }

    private void AddMetadata(GgufWriter writer)
    {
        string name = shape.Architecture;
        writer.Add("general.architecture", GgufValue.Of(name));
        writer.Add("general.name", GgufValue.Of($"{shape.Name} {mix.Name}, random weights"));
        writer.Add("general.file_type", GgufValue.Of((uint)mix.FileType));
        writer.Add($"{name}.block_count", GgufValue.Of((uint)shape.Layers));
        writer.Add($"{name}.context_length", GgufValue.Of((uint)shape.Context));
        writer.Add($"{name}.embedding_length", GgufValue.Of((uint)shape.Width));
        writer.Add($"{name}.feed_forward_length", GgufValue.Of((uint)shape.InnerWidth));
        writer.Add($"{name}.attention.head_count", GgufValue.Of((uint)shape.Heads));
        writer.Add($"{name}.attention.head_count_kv", GgufValue.Of((uint)shape.KeyValueHeads));
        writer.Add($"{name}.attention.key_length", GgufValue.Of((uint)shape.HeadSize));
        writer.Add($"{name}.attention.value_length", GgufValue.Of((uint)shape.HeadSize));
        writer.Add($"{name}.attention.layer_norm_rms_epsilon", GgufValue.Of(shape.Epsilon));
        writer.Add($"{name}.rope.dimension_count", GgufValue.Of((uint)shape.HeadSize));
        writer.Add($"{name}.rope.freq_base", GgufValue.Of(shape.RopeBase));
        writer.Add($"{name}.vocab_size", GgufValue.Of((uint)shape.Vocabulary));
        SyntheticVocabulary.Add(writer, shape);
    }

    /// <summary>What Llama 3's scaling divides each frequency by: long waves by 32, short ones by 1, those between by something between.</summary>
    private float[] FrequencyFactors()
    {
        const double Factor = 32, Low = 1, High = 4;
        float[] factors = new float[shape.HeadSize / 2];
        for (int i = 0; i < factors.Length; i++)
        {
            double wave = 2 * Math.PI * Math.Pow(shape.RopeBase, 2.0 * i / shape.HeadSize);
            double smooth = Math.Clamp(((shape.ScaledFrom / wave) - Low) / (High - Low), 0, 1);
            factors[i] = (float)(1 / (((1 - smooth) / Factor) + smooth));
        }

        return factors;
    }

    private sealed record Tensor(string Name, TensorFormat Format, int[] Shape)
    {
        public long Elements => Shape.Aggregate(1L, (product, dimension) => product * dimension);

        public long Bytes => Format.ByteCount(Elements);
    }
}
