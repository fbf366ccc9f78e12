using System.Security.Cryptography;
using System.Text;

namespace Antiphon.Models;

/// <summary>A hash that tells a model from others without reading all of it.</summary>
public static class ModelFingerprint
{
    private const int SampleBytes = 4096;

    /// <summary>
    /// SHA-256 over the metadata, each tensor's name, format, shape and a sample of its bytes (beginning, middle and end), and the files of adapters whole.
    /// It is to keep things of different models apart, not to prove that a file was not tampered with.
    /// </summary>
    /// <param name="source">The model.</param>
    /// <param name="adapters">Folders of adapters that are merged into it.</param>
    /// <param name="variant">What else must be equal.</param>
    /// <returns>32 bytes.</returns>
    /// <exception cref="IOException">An adapter's file cannot be read any more.</exception>
    public static byte[] Of(ModelSource source, IReadOnlyList<string> adapters, string variant)
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(adapters);
        ArgumentNullException.ThrowIfNull(variant);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Add(hash, variant);
        switch (source)
        {
            case GgufFile gguf:
                foreach ((string key, GgufValue value) in gguf.Metadata.Entries)
                {
                    Add(hash, key);
                    Add(hash, (long)value.Type);
                    Add(hash, value.Encoded.Length);
                    hash.AppendData(value.Encoded.Span);
                }

                break;
            case HuggingFaceFolder folder:
                Add(hash, folder.Config.GetRawText());
                break;
        }

        foreach (TensorView tensor in source.Tensors)
        {
            Add(hash, tensor.Name);
            Add(hash, tensor.Format.ToString());
            foreach (long dimension in tensor.Shape)
            {
                Add(hash, dimension);
            }

            AddSample(hash, tensor);
        }

        foreach (string folder in adapters)
        {
            foreach (string file in Directory.GetFiles(folder).Order(StringComparer.Ordinal))
            {
                Add(hash, Path.GetFileName(file));
                using FileStream stream = File.OpenRead(file);
                hash.AppendData(SHA256.HashData(stream));
            }
        }

        return hash.GetHashAndReset();
    }

    private static void Add(IncrementalHash hash, string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        Add(hash, bytes.Length);
        hash.AppendData(bytes);
    }

    private static void Add(IncrementalHash hash, long number)
    {
        Span<byte> bytes = stackalloc byte[sizeof(long)];
        System.Buffers.Binary.BinaryPrimitives.WriteInt64LittleEndian(bytes, number);
        hash.AppendData(bytes);
    }

    private static unsafe void AddSample(IncrementalHash hash, TensorView tensor)
    {
        Add(hash, tensor.ByteCount);
        long most = Math.Min(SampleBytes, tensor.ByteCount);
        foreach (long start in (ReadOnlySpan<long>)[0, (tensor.ByteCount - most) / 2, tensor.ByteCount - most])
        {
            hash.AppendData(new ReadOnlySpan<byte>((byte*)tensor.Data + start, (int)most));
        }
    }
}
