using System.Numerics;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Antiphon.Engine;

/// <summary>
/// SipHash-2-4 (Aumasson and Bernstein 2012) under a key drawn for each instance, so that nobody outside can construct collisions.
/// </summary>
internal sealed class SipHash
{
    private readonly ulong key0;
    private readonly ulong key1;

    public SipHash()
    {
        Span<ulong> key = stackalloc ulong[2];
        RandomNumberGenerator.Fill(MemoryMarshal.AsBytes(key));
        (key0, key1) = (key[0], key[1]);
    }

    public SipHash(ulong key0, ulong key1) => (this.key0, this.key1) = (key0, key1);

    /// <summary>The hash of a word followed by bytes.</summary>
    public ulong Hash(ulong first, ReadOnlySpan<byte> bytes)
    {
        State state = new(key0, key1);
        state.Add(first);
        return Finish(ref state, bytes, bytes.Length + 8);
    }

    /// <summary>The hash of bytes.</summary>
    public ulong Hash(ReadOnlySpan<byte> bytes)
    {
        State state = new(key0, key1);
        return Finish(ref state, bytes, bytes.Length);
    }

    private static ulong Finish(ref State state, ReadOnlySpan<byte> bytes, int total)
    {
        while (bytes.Length >= 8)
        {
            state.Add(System.Buffers.Binary.BinaryPrimitives.ReadUInt64LittleEndian(bytes));
            bytes = bytes[8..];
        }

        ulong last = (ulong)total << 56;
        for (int i = 0; i < bytes.Length; i++)
        {
            last |= (ulong)bytes[i] << (8 * i);
        }

        state.Add(last);
        return state.Finish();
    }

    private struct State(ulong key0, ulong key1)
    {
        private ulong v0 = key0 ^ 0x736f6d6570736575;
        private ulong v1 = key1 ^ 0x646f72616e646f6d;
        private ulong v2 = key0 ^ 0x6c7967656e657261;
        private ulong v3 = key1 ^ 0x7465646279746573;

        public void Add(ulong word)
        {
            v3 ^= word;
            Round();
            Round();
            v0 ^= word;
        }

        public ulong Finish()
        {
            v2 ^= 0xff;
            Round();
            Round();
            Round();
            Round();
            return v0 ^ v1 ^ v2 ^ v3;
        }

        private void Round()
        {
            v0 += v1;
            v1 = BitOperations.RotateLeft(v1, 13) ^ v0;
            v0 = BitOperations.RotateLeft(v0, 32);
            v2 += v3;
            v3 = BitOperations.RotateLeft(v3, 16) ^ v2;
            v0 += v3;
            v3 = BitOperations.RotateLeft(v3, 21) ^ v0;
            v2 += v1;
            v1 = BitOperations.RotateLeft(v1, 17) ^ v2;
            v2 = BitOperations.RotateLeft(v2, 32);
        }
    }
}
