using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Antiphon.Models;

namespace Antiphon.Engine;

/// <summary>
/// The prefix tree with its blocks as a stream of bytes, little-endian: magic, version, the model's hash, the tree's hash key, tokens in a block, bytes of a block,
/// number of blocks; for each block the index of its parent (which comes before it; -1: none), its hash, its tokens, its payload; SHA-256 of all that.
/// </summary>
/// <remarks>
/// <para>The blocks used last come first, so that a smaller pool restores the part that is worth most. The hash key goes along because salts are kept only as
/// hashes; so a file must be as well protected as the conversations whose keys and values it holds.</para>
/// <para>Blocks enter the tree only when all is read and the sum is right: a bad file changes nothing.</para>
/// </remarks>
internal static class CacheFile
{
    public const int HashBytes = 32;
    private const int Version = 1;
    private const int HeaderBytes = 8 + 4 + HashBytes + SipHash.KeyBytes + 4 + 8 + 4;
    private const int LargestBlock = 1 << 30;

    private static ReadOnlySpan<byte> Magic => "ANTIPHKV"u8;

    /// <summary>Writes the tree.</summary>
    /// <returns>Number of blocks.</returns>
    public static int Save(PrefixTree tree, KvCache cache, ReadOnlySpan<byte> modelHash, Stream stream)
    {
        int blockBytes = BlockBytes(cache);
        List<PrefixTree.Node> nodes = tree.List();
        using var sum = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        byte[] header = new byte[HeaderBytes];
        Magic.CopyTo(header);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(8), Version);
        modelHash.CopyTo(header.AsSpan(12));
        tree.CopyHashKey(header.AsSpan(12 + HashBytes));
        Span<byte> sizes = header.AsSpan(12 + HashBytes + SipHash.KeyBytes);
        BinaryPrimitives.WriteInt32LittleEndian(sizes, cache.BlockSize);
        BinaryPrimitives.WriteInt64LittleEndian(sizes[4..], blockBytes);
        BinaryPrimitives.WriteInt32LittleEndian(sizes[12..], nodes.Count);
        Put(header);
        var places = new Dictionary<int, int>(nodes.Count);
        byte[] record = new byte[RecordBytes(cache)];
        foreach (PrefixTree.Node node in nodes)
        {
            BinaryPrimitives.WriteInt32LittleEndian(record, node.Parent < 0 ? -1 : places[node.Parent]);
            BinaryPrimitives.WriteUInt64LittleEndian(record.AsSpan(4), node.Hash);
            ReadOnlySpan<int> tokens = tree.Tokens(node.Block);
            for (int i = 0; i < tokens.Length; i++)
            {
                BinaryPrimitives.WriteInt32LittleEndian(record.AsSpan(12 + (4 * i)), tokens[i]);
            }

            cache.ReadBlock(node.Block, record.AsSpan(record.Length - blockBytes));
            Put(record);
            places.Add(node.Block, places.Count);
        }

        stream.Write(sum.GetHashAndReset());
        stream.Flush();
        return nodes.Count;

        void Put(byte[] bytes)
        {
            sum.AppendData(bytes);
            stream.Write(bytes);
        }
    }

    /// <summary>Reads blocks into a tree without any.</summary>
    /// <returns>Number of blocks restored: those of the file, or as many as the pool holds.</returns>
    /// <exception cref="CacheFileException">The stream holds something else, is damaged, or belongs to another model or block size; or the tree is not empty.</exception>
    public static int Restore(PrefixTree tree, KvCache cache, int vocabularySize, ReadOnlySpan<byte> modelHash, Stream stream)
    {
        int blockBytes = BlockBytes(cache);
        if (cache.FreeBlocks != cache.BlockCount)
        {
            throw new CacheFileException("the cache is in use: restore it before the first request");
        }

        using var sum = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        byte[] header = new byte[HeaderBytes];
        Take(header, "header");
        if (!header.AsSpan(0, 8).SequenceEqual(Magic))
        {
            throw new CacheFileException("this is no saved cache: it does not begin with ANTIPHKV");
        }

        int version = BinaryPrimitives.ReadInt32LittleEndian(header.AsSpan(8));
        if (version != Version)
        {
            throw new CacheFileException($"this saved cache has version {version}, known is {Version}: delete it, it is made anew");
        }

        if (!header.AsSpan(12, HashBytes).SequenceEqual(modelHash))
        {
            throw new CacheFileException("this saved cache belongs to another model, adapter or processor tier: delete it, or name another file");
        }

        ReadOnlySpan<byte> sizes = header.AsSpan(12 + HashBytes + SipHash.KeyBytes);
        int blockSize = BinaryPrimitives.ReadInt32LittleEndian(sizes);
        long storedBytes = BinaryPrimitives.ReadInt64LittleEndian(sizes[4..]);
        int count = BinaryPrimitives.ReadInt32LittleEndian(sizes[12..]);
        if (blockSize != cache.BlockSize || storedBytes != blockBytes)
        {
            throw new CacheFileException($"this saved cache has blocks of {blockSize} tokens and {storedBytes} bytes, this engine has {cache.BlockSize} and {blockBytes}: use the same options, or delete the file");
        }

        int recordBytes = RecordBytes(cache);
        if (count < 0 || (stream.CanSeek && stream.Length - stream.Position != (count * (long)recordBytes) + HashBytes))
        {
            throw new CacheFileException($"this saved cache is damaged: its size does not fit {count} blocks");
        }

        // The file's own key makes its hashes, and those of salts, valid here.
        var hash = new SipHash(header.AsSpan(12 + HashBytes, SipHash.KeyBytes));
        List<PrefixTree.Node> nodes = [];
        List<int[]> texts = [];
        var hashes = new HashSet<ulong>();
        byte[] record = new byte[recordBytes];
        bool whole = false;
        try
        {
            for (int index = 0; index < count; index++)
            {
                Take(record, $"block {index}");
                int parent = BinaryPrimitives.ReadInt32LittleEndian(record);
                ulong key = BinaryPrimitives.ReadUInt64LittleEndian(record.AsSpan(4));
                if (nodes.Count < index || cache.FreeBlocks == 0)
                {
                    continue; // The pool is full: the rest is read for its sum alone.
                }

                int[] tokens = new int[blockSize];
                for (int i = 0; i < blockSize; i++)
                {
                    tokens[i] = BinaryPrimitives.ReadInt32LittleEndian(record.AsSpan(12 + (4 * i)));
                    if ((uint)tokens[i] >= (uint)vocabularySize)
                    {
                        throw Damaged($"block {index} holds token {tokens[i]}");
                    }
                }

                if (parent < -1 || parent >= index)
                {
                    throw Damaged($"block {index} follows block {parent}");
                }

                bool right = parent < 0 || key == tree.Mask(hash.Hash(nodes[parent].Hash, MemoryMarshal.AsBytes(tokens.AsSpan())));
                if (!right || !hashes.Add(key))
                {
                    throw Damaged($"block {index} has a hash that cannot be");
                }

                int block = cache.Allocate();
                nodes.Add(new PrefixTree.Node(block, key, parent < 0 ? -1 : nodes[parent].Block));
                texts.Add(tokens);
                cache.WriteBlock(block, record.AsSpan(recordBytes - blockBytes));
            }

            byte[] expected = sum.GetHashAndReset();
            byte[] stored = new byte[HashBytes];
            Take(stored, "checksum");
            if (!stored.AsSpan().SequenceEqual(expected))
            {
                throw Damaged("its checksum is wrong");
            }

            whole = stream.ReadByte() < 0;
            if (!whole)
            {
                throw Damaged("something follows its end");
            }
        }
        finally
        {
            if (!whole)
            {
                nodes.ForEach(node => cache.Release(node.Block));
            }
        }

        tree.Adopt(hash, nodes, texts);
        return nodes.Count;

        void Take(byte[] bytes, string what)
        {
            try
            {
                stream.ReadExactly(bytes);
            }
            catch (EndOfStreamException failure)
            {
                throw new CacheFileException($"this saved cache is damaged: it ends in its {what}; delete it, it is made anew", failure);
            }

            sum.AppendData(bytes);
        }
    }

    private static CacheFileException Damaged(string how) => new($"this saved cache is damaged: {how}; delete it, it is made anew");

    private static int BlockBytes(KvCache cache)
    {
        if (cache.HasRecurrentState)
        {
            throw new CacheFileException("the cache of a model with recurrent layers cannot be saved: its blocks are of no use without checkpoints of the state, which are not saved");
        }

        return cache.BlockBytes <= LargestBlock
            ? (int)cache.BlockBytes
            : throw new CacheFileException($"a block of {cache.BlockBytes} bytes is too large to be saved: use a smaller BlockSize");
    }

    private static int RecordBytes(KvCache cache) => checked(4 + 8 + (4 * cache.BlockSize) + BlockBytes(cache));
}
