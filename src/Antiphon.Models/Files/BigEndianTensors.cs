using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>Tensors of a big-endian file, made little-endian in private memory. Only formats with a defined big-endian form can be read.</summary>
internal static unsafe class BigEndianTensors
{
    /// <summary>Copies and swaps tensors.</summary>
    /// <param name="path">The file, for messages.</param>
    /// <param name="tensors">The tensors in the file.</param>
    /// <param name="owned">Receives the buffer that holds the copies.</param>
    public static List<TensorView> Swap(string path, List<TensorView> tensors, List<IDisposable> owned)
    {
        // The tensors lie in the file without overlap, so that this is less than the file's size plus the padding.
        long total = tensors.Sum(t => Padded(t.ByteCount));
        var buffer = new NativeBuffer<byte>(total);
        owned.Add(buffer);
        byte* place = buffer.Pointer;
        var swapped = new List<TensorView>(tensors.Count);
        foreach (TensorView tensor in tensors)
        {
            // Width of the numbers at the start of each block that change; all other fields are bytes.
            (int width, int count, int at) = tensor.Format switch
            {
                TensorFormat.I8 or TensorFormat.MXFP4 or TensorFormat.NVFP4 => (1, 0, 0),
                TensorFormat.F16 or TensorFormat.BF16 or TensorFormat.I16 => (2, 1, 0),
                TensorFormat.F32 or TensorFormat.I32 => (4, 1, 0),
                TensorFormat.F64 or TensorFormat.I64 => (8, 1, 0),
                TensorFormat.Q4_0 or TensorFormat.Q8_0 => (2, 1, 0),
                TensorFormat.Q4_K => (2, 2, 0),
                TensorFormat.Q6_K => (2, 1, 208),
                _ => throw new ModelFormatException($"{path}: tensor '{tensor.Name}' is {tensor.Format} in a big-endian file, a form that is not defined; use a little-endian file"),
            };
            Buffer.MemoryCopy((void*)tensor.Data, place, tensor.ByteCount, tensor.ByteCount);
            long blockBytes = tensor.Format.BlockBytes();
            for (byte* block = place; block < place + tensor.ByteCount && count > 0; block += blockBytes)
            {
                for (int i = 0; i < count; i++)
                {
                    new Span<byte>(block + at + (i * width), width).Reverse();
                }
            }

            swapped.Add(tensor with { Data = (nint)place });
            place += Padded(tensor.ByteCount);
        }

        return swapped;
    }

    private static long Padded(long bytes) => (bytes + 63) & ~63L;
}
