using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Text;

namespace Antiphon.Models;

/// <summary>
/// One GGUF metadata value: its type and its bytes in the little-endian form of the file, checked when it was read.
/// Nothing is decoded before it is asked for, so that a vocabulary of any size costs no more than its bytes.
/// </summary>
public readonly struct GgufValue
{
    /// <summary>Text of a file is UTF-8; anything else is an error, never a silent replacement.</summary>
    internal static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    internal GgufValue(GgufValueType type, ReadOnlyMemory<byte> encoded)
    {
        Type = type;
        Encoded = encoded;
    }

    /// <summary>The type.</summary>
    public GgufValueType Type { get; }

    /// <summary>The type of the elements of an array.</summary>
    /// <exception cref="InvalidOperationException">The value is no array.</exception>
    public GgufValueType ElementType => (GgufValueType)BinaryPrimitives.ReadInt32LittleEndian(Array());

    /// <summary>The number of elements of an array.</summary>
    /// <exception cref="InvalidOperationException">The value is no array.</exception>
    public int Count => checked((int)BinaryPrimitives.ReadInt64LittleEndian(Array()[4..]));

    /// <summary>The bytes of the value as a little-endian file holds them.</summary>
    internal ReadOnlyMemory<byte> Encoded { get; }

    /// <summary>An 8-bit unsigned integer.</summary>
    public static GgufValue Of(byte value) => new(GgufValueType.UInt8, new[] { value });

    /// <summary>An 8-bit signed integer.</summary>
    public static GgufValue Of(sbyte value) => new(GgufValueType.Int8, new[] { (byte)value });

    /// <summary>A 16-bit unsigned integer.</summary>
    public static GgufValue Of(ushort value) => new(GgufValueType.UInt16, LittleEndian(value, 2));

    /// <summary>A 16-bit signed integer.</summary>
    public static GgufValue Of(short value) => new(GgufValueType.Int16, LittleEndian((ushort)value, 2));

    /// <summary>A 32-bit unsigned integer.</summary>
    public static GgufValue Of(uint value) => new(GgufValueType.UInt32, LittleEndian(value, 4));

    /// <summary>A 32-bit signed integer.</summary>
    public static GgufValue Of(int value) => new(GgufValueType.Int32, LittleEndian((uint)value, 4));

    /// <summary>A 64-bit unsigned integer.</summary>
    public static GgufValue Of(ulong value) => new(GgufValueType.UInt64, LittleEndian(value, 8));

    /// <summary>A 64-bit signed integer.</summary>
    public static GgufValue Of(long value) => new(GgufValueType.Int64, LittleEndian((ulong)value, 8));

    /// <summary>A 32-bit float.</summary>
    public static GgufValue Of(float value) => new(GgufValueType.Float32, LittleEndian(BitConverter.SingleToUInt32Bits(value), 4));

    /// <summary>A 64-bit float.</summary>
    public static GgufValue Of(double value) => new(GgufValueType.Float64, LittleEndian(BitConverter.DoubleToUInt64Bits(value), 8));

    /// <summary>A truth value.</summary>
    public static GgufValue Of(bool value) => new(GgufValueType.Boolean, new[] { value ? (byte)1 : (byte)0 });

    /// <summary>A string.</summary>
    /// <exception cref="ArgumentException">It is not well-formed UTF-16.</exception>
    public static GgufValue Of(string value)
    {
        ArgumentNullException.ThrowIfNull(value);
        byte[] encoded = new byte[8 + Utf8.GetByteCount(value)];
        BinaryPrimitives.WriteInt64LittleEndian(encoded, encoded.Length - 8);
        Utf8.GetBytes(value, encoded.AsSpan(8));
        return new(GgufValueType.String, encoded);
    }

    /// <summary>An array.</summary>
    /// <exception cref="ArgumentException">An element has another type.</exception>
    public static GgufValue ArrayOf(GgufValueType elementType, params IReadOnlyList<GgufValue> elements)
    {
        ArgumentNullException.ThrowIfNull(elements);
        byte[] encoded = new byte[checked((int)(12 + elements.Sum(e => (long)e.Encoded.Length)))];
        BinaryPrimitives.WriteInt32LittleEndian(encoded, (int)elementType);
        BinaryPrimitives.WriteInt64LittleEndian(encoded.AsSpan(4), elements.Count);
        int position = 12;
        foreach (GgufValue element in elements)
        {
            if (element.Type != elementType)
            {
                throw new ArgumentException($"an element is {element.Type} in an array of {elementType}", nameof(elements));
            }

            element.Encoded.CopyTo(encoded.AsMemory(position));
            position += element.Encoded.Length;
        }

        return new(GgufValueType.Array, encoded);
    }

    /// <summary>The value of any integer type; false for other types.</summary>
    public bool TryGetInteger(out Int128 value)
    {
        ReadOnlySpan<byte> bytes = Encoded.Span;
        (bool isInteger, value) = Type switch
        {
            GgufValueType.UInt8 => (true, (Int128)bytes[0]),
            GgufValueType.Int8 => (true, (sbyte)bytes[0]),
            GgufValueType.UInt16 => (true, BinaryPrimitives.ReadUInt16LittleEndian(bytes)),
            GgufValueType.Int16 => (true, BinaryPrimitives.ReadInt16LittleEndian(bytes)),
            GgufValueType.UInt32 => (true, BinaryPrimitives.ReadUInt32LittleEndian(bytes)),
            GgufValueType.Int32 => (true, BinaryPrimitives.ReadInt32LittleEndian(bytes)),
            GgufValueType.UInt64 => (true, BinaryPrimitives.ReadUInt64LittleEndian(bytes)),
            GgufValueType.Int64 => (true, BinaryPrimitives.ReadInt64LittleEndian(bytes)),
            _ => (false, 0),
        };
        return isInteger;
    }

    /// <summary>The value of either float type; false for other types. A float32 is exact in the result.</summary>
    public bool TryGetFloat(out double value)
    {
        (bool isFloat, value) = Type switch
        {
            GgufValueType.Float32 => (true, BinaryPrimitives.ReadSingleLittleEndian(Encoded.Span)),
            GgufValueType.Float64 => (true, BinaryPrimitives.ReadDoubleLittleEndian(Encoded.Span)),
            _ => (false, 0),
        };
        return isFloat;
    }

    /// <summary>The truth value; false for other types.</summary>
    public bool TryGetBoolean(out bool value)
    {
        value = Type == GgufValueType.Boolean && Encoded.Span[0] != 0;
        return Type == GgufValueType.Boolean;
    }

    /// <summary>The bytes of a string, which need not be UTF-8; false for other types.</summary>
    public bool TryGetUtf8(out ReadOnlyMemory<byte> value)
    {
        value = Type == GgufValueType.String ? Encoded[8..] : default;
        return Type == GgufValueType.String;
    }

    /// <summary>The string; false for other types and for bytes that are not UTF-8.</summary>
    public bool TryGetString([NotNullWhen(true)] out string? value)
    {
        value = null;
        if (TryGetUtf8(out ReadOnlyMemory<byte> bytes))
        {
            try
            {
                value = Utf8.GetString(bytes.Span);
            }
            catch (DecoderFallbackException)
            {
                return false;
            }
        }

        return value is not null;
    }

    /// <summary>The elements of an array, which may be arrays again.</summary>
    /// <exception cref="InvalidOperationException">The value is no array.</exception>
    public IEnumerable<GgufValue> Elements()
    {
        GgufValueType type = ElementType;
        int count = Count;
        ReadOnlyMemory<byte> rest = Encoded[12..];
        return Enumerate();

        IEnumerable<GgufValue> Enumerate()
        {
            for (int i = 0; i < count; i++)
            {
                int length = EncodedLength(type, rest.Span);
                yield return new GgufValue(type, rest[..length]);
                rest = rest[length..];
            }
        }
    }

    /// <summary>Bytes of the first value of a type at the start of checked bytes.</summary>
    private static int EncodedLength(GgufValueType type, ReadOnlySpan<byte> bytes)
    {
        switch (type)
        {
            case GgufValueType.String:
                return checked(8 + (int)BinaryPrimitives.ReadInt64LittleEndian(bytes));
            case GgufValueType.Array:
                var inner = (GgufValueType)BinaryPrimitives.ReadInt32LittleEndian(bytes);
                int count = (int)BinaryPrimitives.ReadInt64LittleEndian(bytes[4..]);
                if (inner.FixedBytes() != 0)
                {
                    return 12 + (count * inner.FixedBytes());
                }

                int length = 12;
                for (int i = 0; i < count; i++)
                {
                    length += EncodedLength(inner, bytes[length..]);
                }

                return length;
            default:
                return type.FixedBytes();
        }
    }

    private static byte[] LittleEndian(ulong bits, int bytes)
    {
        byte[] all = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(all, bits);
        return all[..bytes];
    }

    private ReadOnlySpan<byte> Array() =>
        Type == GgufValueType.Array ? Encoded.Span : throw new InvalidOperationException($"a {Type} value is no array");
}
