using System.Buffers.Binary;
using Antiphon.Kernels;
using Antiphon.Models;

namespace Antiphon.Conformance.Models;

/// <summary>
/// The converter writes matrices in bfloat16. Where the safetensors beside a GGUF hold float32, the two are different models: the GGUF's is compared
/// with the safetensors of which the matrices are rounded alike, whose reading the oracle vouches for before they are rounded.
/// </summary>
internal static class RoundedWeights
{
    /// <summary>Whether a folder's GGUF has matrices that its safetensors hold more exactly.</summary>
    public static bool IsRounded(string folder)
    {
        using HuggingFaceFolder exact = HuggingFaceFolder.Open(folder);
        using GgufFile rounded = GgufFile.Open(Path.Combine(folder, "model.gguf"));
        return exact.Tensors.Any(t => t.Shape.Count == 2 && t.Format == TensorFormat.F32) && rounded.Tensors.Any(t => t.Format == TensorFormat.BF16);
    }

    /// <summary>Logits of a folder's safetensors with matrices rounded to bfloat16, but for learned positions, which the converter leaves exact.</summary>
    public static Dictionary<string, float[]> Logits(string folder, ReferenceCase reference)
    {
        string copy = Directory.CreateTempSubdirectory("antiphon-rounded").FullName;
        try
        {
            foreach (string file in new[] { "config.json", "model.safetensors" })
            {
                File.WriteAllBytes(Path.Combine(copy, file), File.ReadAllBytes(Path.Combine(folder, file)));
            }

            Round(Path.Combine(copy, "model.safetensors"));
            using LoadedModel model = ModelLoader.Load(copy, new ModelLoadOptions { Threads = 1 });
            return reference.Prompts.ToDictionary(
                p => p.Key, p => Feeding.Logits(model.Backend, p.Value, p.Value.Length, reference.Expected[$"{p.Key}.logits"].Rows));
        }
        finally
        {
            Directory.Delete(copy, recursive: true);
        }
    }

    private static void Round(string path)
    {
        byte[] bytes = File.ReadAllBytes(path);
        var places = new List<(long Offset, long Count)>();
        using (SafetensorsFile file = SafetensorsFile.Open(path))
        {
            long start = 8 + BinaryPrimitives.ReadInt64LittleEndian(bytes);
            nint first = file.Tensors.Min(t => t.Data);
            places.AddRange(
                file.Tensors.Where(t => t.Shape.Count == 2 && !t.Name.EndsWith("wpe.weight", StringComparison.Ordinal))
                    .Select(t => (start + (t.Data - first), t.ElementCount)));
        }

        foreach ((long offset, long count) in places)
        {
            for (long i = offset; i < offset + (4 * count); i += 4)
            {
                Span<byte> value = bytes.AsSpan((int)i, 4);
                uint bits = BinaryPrimitives.ReadUInt32LittleEndian(value);
                BinaryPrimitives.WriteUInt32LittleEndian(value, (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000);
            }
        }

        File.WriteAllBytes(path, bytes);
    }
}
