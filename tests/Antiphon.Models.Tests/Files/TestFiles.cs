using System.Buffers.Binary;
using System.Text;
using Antiphon.Kernels;
using Antiphon.Models;

namespace Antiphon.Models.Tests.Files;

/// <summary>Makes files for tests, right and wrong ones.</summary>
internal static class TestFiles
{
    /// <summary>A small GGUF with values of every type and tensors of four formats.</summary>
    public static byte[] Gguf()
    {
        using var stream = new MemoryStream();
        var writer = new GgufWriter(stream, 64);
        writer.Add("general.architecture", GgufValue.Of("test"));
        writer.Add("u8", GgufValue.Of((byte)200));
        writer.Add("i8", GgufValue.Of((sbyte)-100));
        writer.Add("u16", GgufValue.Of((ushort)60000));
        writer.Add("i16", GgufValue.Of((short)-30000));
        writer.Add("u32", GgufValue.Of(4000000000u));
        writer.Add("i32", GgufValue.Of(-2000000000));
        writer.Add("u64", GgufValue.Of(ulong.MaxValue));
        writer.Add("i64", GgufValue.Of(long.MinValue));
        writer.Add("f32", GgufValue.Of(0.1f));
        writer.Add("f64", GgufValue.Of(0.1));
        writer.Add("bool", GgufValue.Of(true));
        writer.Add("string", GgufValue.Of("e\u0301 \u00e9\0"));
        writer.Add("numbers", GgufValue.ArrayOf(GgufValueType.Int32, GgufValue.Of(1), GgufValue.Of(-2)));
        writer.Add("words", GgufValue.ArrayOf(GgufValueType.String, GgufValue.Of("a"), GgufValue.Of("")));
        writer.Add("nested", GgufValue.ArrayOf(
            GgufValueType.Array, GgufValue.ArrayOf(GgufValueType.UInt8, GgufValue.Of((byte)1)), GgufValue.ArrayOf(GgufValueType.String)));
        (string Name, TensorFormat Format, long[] Shape)[] tensors =
        [
            ("a.weight", TensorFormat.F32, [3, 5]), ("b.weight", TensorFormat.Q8_0, [2, 64]), ("c", TensorFormat.F16, [7]), ("d", TensorFormat.Q4_K, [2, 1, 2, 256]),
        ];
        foreach ((string name, TensorFormat format, long[] shape) in tensors)
        {
            writer.AddTensor(name, format, shape);
        }

        byte next = 0;
        foreach ((_, TensorFormat format, long[] shape) in tensors)
        {
            byte[] bytes = new byte[format.ByteCount(shape.Aggregate(1L, (a, b) => a * b))];
            for (int i = 0; i < bytes.Length; i++)
            {
                bytes[i] = next++;
            }

            writer.Write(bytes);
        }

        writer.Finish();
        return stream.ToArray();
    }

    /// <summary>A GGUF header made by hand, so that it can say anything.</summary>
    public static byte[] RawGguf(Action<Raw> entries, int entryCount, Action<Raw> tensors, int tensorCount, int dataBytes = 4096) =>
        new Raw().Bytes("GGUF"u8).U32(3).U64((ulong)tensorCount).U64((ulong)entryCount).Do(entries).Do(tensors).Bytes(new byte[dataBytes]).ToArray();

    /// <summary>A safetensors file with a header as given.</summary>
    public static byte[] Safetensors(string header, int dataBytes) =>
        new Raw().U64((ulong)Encoding.UTF8.GetByteCount(header)).Bytes(Encoding.UTF8.GetBytes(header)).Bytes(new byte[dataBytes]).ToArray();

    /// <summary>Opens a GGUF model from bytes and touches everything it offers.</summary>
    public static unsafe void OpenGguf(ReadOnlySpan<byte> bytes)
    {
        // A copy of exactly this size in native memory: reading past its end is an error that tools can see, unlike past a managed array.
        using var buffer = new NativeBuffer<byte>(bytes.Length);
        bytes.CopyTo(buffer.Span(0, bytes.Length));
        using GgufFile file = GgufFile.Open(buffer.Pointer, bytes.Length, "test.gguf");
        foreach (TensorView tensor in file.Tensors)
        {
            if (tensor.Data < (nint)buffer.Pointer || tensor.Data + tensor.ByteCount > (nint)(buffer.Pointer + bytes.Length))
            {
                // A big-endian file's tensors lie in a buffer of their own.
                if (bytes[4] != 0)
                {
                    throw new InvalidOperationException($"'{tensor.Name}' lies outside the file");
                }
            }

            float[] values = new float[tensor.ElementCount];
            BlockDecoder.Decode(tensor.Format, tensor.Bytes, values);
        }

        foreach ((string key, GgufValue value) in file.Metadata.Entries)
        {
            Touch(value);
            if (value.Type == GgufValueType.String)
            {
                file.Metadata.GetString(key);
            }
        }
    }

    /// <summary>Reads a safetensors file from bytes and touches its tensors.</summary>
    public static unsafe void OpenSafetensors(ReadOnlySpan<byte> bytes)
    {
        using var buffer = new NativeBuffer<byte>(bytes.Length);
        bytes.CopyTo(buffer.Span(0, bytes.Length));
        foreach (TensorView tensor in SafetensorsFile.Read(new FileRegion("test.safetensors", buffer.Pointer, bytes.Length)))
        {
            BlockDecoder.Decode(tensor.Format, tensor.Bytes, new float[tensor.ElementCount]);
        }
    }

    private static void Touch(GgufValue value)
    {
        value.TryGetInteger(out _);
        value.TryGetFloat(out _);
        value.TryGetBoolean(out _);
        value.TryGetString(out _);
        if (value.Type == GgufValueType.Array)
        {
            foreach (GgufValue element in value.Elements())
            {
                Touch(element);
            }
        }
    }

    /// <summary>Bytes, written front to back.</summary>
    internal sealed class Raw
    {
        private readonly List<byte> bytes = [];

        public Raw Bytes(ReadOnlySpan<byte> added)
        {
            bytes.AddRange(added);
            return this;
        }

        public Raw U32(uint value)
        {
            Span<byte> place = stackalloc byte[4];
            BinaryPrimitives.WriteUInt32LittleEndian(place, value);
            return Bytes(place);
        }

        public Raw U64(ulong value)
        {
            Span<byte> place = stackalloc byte[8];
            BinaryPrimitives.WriteUInt64LittleEndian(place, value);
            return Bytes(place);
        }

        public Raw Text(string text) => U64((ulong)Encoding.UTF8.GetByteCount(text)).Bytes(Encoding.UTF8.GetBytes(text));

        /// <summary>A metadata entry of 32 bits.</summary>
        public Raw Entry(string key, GgufValueType type, uint value) => Text(key).U32((uint)type).U32(value);

        /// <summary>A tensor info; dimensions in the file's order.</summary>
        public Raw Tensor(string name, uint type, ulong offset, params ulong[] dimensions)
        {
            Text(name).U32((uint)dimensions.Length);
            foreach (ulong dimension in dimensions)
            {
                U64(dimension);
            }

            return U32(type).U64(offset);
        }

        public Raw Do(Action<Raw> action)
        {
            action(this);
            return this;
        }

        public byte[] ToArray() => [.. bytes];
    }
}
