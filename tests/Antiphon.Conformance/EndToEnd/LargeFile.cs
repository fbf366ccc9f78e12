using Antiphon.Kernels;
using Antiphon.Models;

namespace Antiphon.Conformance.EndToEnd;

/// <summary>Makes a Llama of about a gigabyte with random weights, and another model's vocabulary.</summary>
internal static class LargeFile
{
    private const int Width = 2048;
    private const int KeyValueWidth = 512;
    private const int Inner = 5632;
    private const int Layers = 20;

    /// <summary>Writes the file.</summary>
    public static void Write(string path, GgufFile vocabulary)
    {
        using FileStream stream = File.Create(path);
        var writer = new GgufWriter(stream);
        writer.Add("general.architecture", GgufValue.Of("llama"));
        writer.Add("llama.block_count", GgufValue.Of((uint)Layers));
        writer.Add("llama.context_length", GgufValue.Of(2048u));
        writer.Add("llama.embedding_length", GgufValue.Of((uint)Width));
        writer.Add("llama.feed_forward_length", GgufValue.Of((uint)Inner));
        writer.Add("llama.attention.head_count", GgufValue.Of(32u));
        writer.Add("llama.attention.head_count_kv", GgufValue.Of(8u));
        writer.Add("llama.attention.layer_norm_rms_epsilon", GgufValue.Of(1e-5f));
        foreach ((string key, GgufValue value) in vocabulary.Metadata.Entries.Where(e => e.Key.StartsWith("tokenizer.", StringComparison.Ordinal)))
        {
            writer.Add(key, value);
        }

        List<(bool IsNorm, long Count)> tensors = [];
        void Norm(string name)
        {
            writer.AddTensor(name, TensorFormat.F32, [Width]);
            tensors.Add((true, Width));
        }

        void Matrix(string name, long rows, long columns)
        {
            writer.AddTensor(name, TensorFormat.Q8_0, [rows, columns]);
            tensors.Add((false, rows * columns));
        }

        Matrix("token_embd.weight", vocabulary.Metadata.GetValue("tokenizer.ggml.tokens").Count, Width);
        for (int i = 0; i < Layers; i++)
        {
            Norm($"blk.{i}.attn_norm.weight");
            Matrix($"blk.{i}.attn_q.weight", Width, Width);
            Matrix($"blk.{i}.attn_k.weight", KeyValueWidth, Width);
            Matrix($"blk.{i}.attn_v.weight", KeyValueWidth, Width);
            Matrix($"blk.{i}.attn_output.weight", Width, Width);
            Norm($"blk.{i}.ffn_norm.weight");
            Matrix($"blk.{i}.ffn_gate.weight", Inner, Width);
            Matrix($"blk.{i}.ffn_up.weight", Inner, Width);
            Matrix($"blk.{i}.ffn_down.weight", Width, Inner);
        }

        Norm("output_norm.weight");
        byte[] ones = new byte[Width * sizeof(float)];
        for (int i = 0; i < Width; i++)
        {
            BitConverter.TryWriteBytes(ones.AsSpan(i * sizeof(float)), 1f);
        }

        byte[] blocks = Blocks(1 << 15);
        foreach ((bool isNorm, long count) in tensors)
        {
            for (long left = isNorm ? 0 : TensorFormat.Q8_0.ByteCount(count); left > 0; left -= Math.Min(left, blocks.Length))
            {
                writer.Write(blocks.AsSpan(0, (int)Math.Min(left, blocks.Length)));
            }

            writer.Write(isNorm ? ones : []);
        }

        writer.Finish();
    }

    private static byte[] Blocks(int count)
    {
        var random = new Random(1);
        byte[] blocks = new byte[count * TensorFormat.Q8_0.BlockBytes()];
        random.NextBytes(blocks);
        for (int i = 0; i < blocks.Length; i += TensorFormat.Q8_0.BlockBytes())
        {
            BitConverter.TryWriteBytes(blocks.AsSpan(i), (Half)(0.0003 * (1 + random.NextDouble())));
        }

        return blocks;
    }
}
