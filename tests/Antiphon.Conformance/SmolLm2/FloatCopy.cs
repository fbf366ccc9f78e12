using Antiphon.Kernels;
using Antiphon.Models;

namespace Antiphon.Conformance.SmolLm2;

/// <summary>A file with a model's matrices as floats of 16 bits, until it is disposed.</summary>
internal sealed class FloatCopy : IDisposable
{
    public FloatCopy(string path, TensorFormat format)
    {
        Path = System.IO.Path.GetTempFileName();
        using GgufFile file = GgufFile.Open(path);
        using FileStream stream = File.Create(Path);
        var writer = new GgufWriter(stream, file.Metadata.TryGetInt32("general.alignment", out int alignment) ? alignment : 32);
        foreach ((string key, GgufValue value) in file.Metadata.Entries)
        {
            writer.Add(key, value);
        }

        foreach (TensorView tensor in file.Tensors)
        {
            writer.AddTensor(tensor.Name, IsMatrix(tensor) ? format : tensor.Format, tensor.Shape);
        }

        foreach (TensorView tensor in file.Tensors)
        {
            writer.Write(IsMatrix(tensor) ? Round(tensor, format) : tensor.Bytes);
        }

        writer.Finish();
    }

    public string Path { get; }

    public void Dispose() => File.Delete(Path);

    private static bool IsMatrix(TensorView tensor) => tensor.Shape.Count > 1;

    private static byte[] Round(TensorView tensor, TensorFormat format)
    {
        float[] values = new float[tensor.ElementCount];
        BlockDecoder.Decode(tensor.Format, tensor.Bytes, values);
        byte[] bytes = new byte[2 * values.Length];
        for (int i = 0; i < values.Length; i++)
        {
            BitConverter.TryWriteBytes(bytes.AsSpan(2 * i), format == TensorFormat.F16 ? HalfConversions.F32ToF16(values[i]) : HalfConversions.F32ToBF16(values[i]));
        }

        return bytes;
    }
}
