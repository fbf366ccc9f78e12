using Antiphon.Models;

namespace Antiphon.Engine.Tests;

/// <summary>
/// A model whose logits are a hash of all tokens that a token sees and their order, read back from cache rows: every row holds the hash of the text up to it, so a
/// wrong block, a stale row, a wrong position or a missing token changes all that follows. It also recomputes each text and complains at once.
/// </summary>
internal sealed class FakeBackend(int vocabularySize = 48, int contextLength = 4096) : IBackend
{
    public int VocabularySize => vocabularySize;

    /// <summary>Whether there are logits.</summary>
    public bool HasHead { get; init; } = true;

    /// <summary>Hidden states are the first logits, so to speak.</summary>
    public int Width => 8;

    public int ContextLength => contextLength;

    public long CacheBytesPerToken => 8;

    /// <summary>Restart points of the recurrent state, in blocks; 0: no recurrent state.</summary>
    public int CheckpointEvery { get; init; }

    /// <summary>Sequences planned to be longer have other rows and logits, as with LongRoPE; 0: none.</summary>
    public int ShortLength { get; init; }

    public FakeCache? Cache { get; private set; }

    /// <summary>Called before each forward pass.</summary>
    public Action<StepBatch>? OnForward { get; set; }

    /// <summary>Changes the logits of a token, given the text up to it.</summary>
    public Action<Sequence, int, float[]>? OnLogits { get; set; }

    public KvCache CreateCache(int blockSize, int blockCount) => Cache = new FakeCache(blockSize, blockCount, CheckpointEvery, ShortLength);

    public unsafe void Forward(StepBatch batch)
    {
        OnForward?.Invoke(batch);
        int row = 0;
        batch.PrepareLogits(vocabularySize);
        float* states = batch.PrepareStates(Width);

        for (int index = 0; index < batch.Slices.Length; index++)
        {
            Slice slice = batch.Slices[index];
            FakeCache cache = (FakeCache)slice.Sequence.Cache;
            if (CheckpointEvery > 0 && slice.Sequence.State is null)
            {
                throw new InvalidOperationException("no recurrent state");
            }

            ulong empty = 0x1234 + (ulong)cache.PrefixScope(slice.Sequence.PlannedLength);
            ulong hash = empty;
            for (int i = 0; i < slice.FirstRow; i++)
            {
                hash = Mix(hash, slice.Sequence.Tokens[i], i);
                if (cache.Read(slice.Sequence.Blocks, i) != hash)
                {
                    throw new InvalidOperationException($"row {i} of the cache is not what the sequence claims");
                }
            }

            hash = slice.FirstRow == 0 ? empty : cache.Read(slice.Sequence.Blocks, slice.FirstRow - 1);
            for (int i = 0; i < slice.Count; i++)
            {
                hash = Mix(hash, batch.Tokens[slice.Start + i], batch.Positions[slice.Start + i]);
                cache.Write(slice.Sequence.Blocks, slice.FirstRow + i, hash);
                int state = i - slice.StatesFrom;
                if (state >= 0 && state < slice.States)
                {
                    Fill(hash, new Span<float>(states + ((slice.FirstState + state) * Width), Width));
                }

                if (slice.Wanted == LogitsWanted.All || (slice.Wanted == LogitsWanted.Last && i == slice.Count - 1))
                {
                    Span<float> logits = batch.Logits(index, slice.Wanted == LogitsWanted.All ? i : 0);
                    Fill(hash, logits);
                    if (OnLogits is not null)
                    {
                        float[] copy = logits.ToArray();
                        OnLogits(slice.Sequence, slice.FirstRow + i, copy);
                        copy.CopyTo(logits);
                    }

                    row++;
                }
            }
        }
    }

    public void Dispose()
    {
    }

    public static ulong Mix(ulong hash, int token, int position)
    {
        ulong value = hash ^ ((ulong)(uint)token << 32) ^ (uint)position;
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9;
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB;
        return value ^ (value >> 31);
    }

    public static void Fill(ulong hash, Span<float> logits)
    {
        for (int i = 0; i < logits.Length; i++)
        {
            logits[i] = (float)((Mix(hash, i, -1) >> 40) / (double)(1 << 24) * 8) - 4;
        }
    }
}

internal sealed class FakeCache(int blockSize, int blockCount, int checkpointEvery, int shortLength = 0) : KvCache(blockSize, blockCount)
{
    private readonly ulong[] rows = new ulong[blockSize * blockCount];
    private int states;

    /// <summary>Recurrent states that are alive.</summary>
    public int States => states;

    public bool Disposed { get; private set; }

    public override long ByteCount => rows.Length * sizeof(ulong);

    public override bool HasRecurrentState => checkpointEvery > 0;

    public ulong Read(ReadOnlySpan<int> blocks, int row) => rows[(blocks[row / BlockSize] * BlockSize) + (row % BlockSize)];

    public void Write(ReadOnlySpan<int> blocks, int row, ulong value)
    {
        if (References(blocks[row / BlockSize]) != 1)
        {
            throw new InvalidOperationException("a shared block is written");
        }

        rows[(blocks[row / BlockSize] * BlockSize) + (row % BlockSize)] = value;
    }

    public override long BlockBytes => BlockSize * sizeof(ulong);

    public override void ReadBlock(int block, Span<byte> bytes) =>
        System.Runtime.InteropServices.MemoryMarshal.AsBytes(rows.AsSpan(block * BlockSize, BlockSize)).CopyTo(bytes);

    public override void WriteBlock(int block, ReadOnlySpan<byte> bytes) =>
        bytes.CopyTo(System.Runtime.InteropServices.MemoryMarshal.AsBytes(rows.AsSpan(block * BlockSize, BlockSize)));

    public override void CopyBlock(int source, int destination) =>
        rows.AsSpan(source * BlockSize, BlockSize).CopyTo(rows.AsSpan(destination * BlockSize));

    public override void CopyRow(int sourceBlock, int sourceRow, int destinationBlock, int destinationRow) =>
        rows[(destinationBlock * BlockSize) + destinationRow] = rows[(sourceBlock * BlockSize) + sourceRow];

    public override int UsablePrefix(ReadOnlySpan<int> blocks) => checkpointEvery > 0 ? blocks.Length / checkpointEvery * checkpointEvery : blocks.Length;

    public override int PrefixScope(int plannedLength) => shortLength > 0 && (plannedLength == 0 || plannedLength > shortLength) ? 1 : 0;

    public override RecurrentState? CreateState(ReadOnlySpan<int> prefixBlocks) => checkpointEvery > 0 ? new State(this) : null;

    protected override void OnFreed(int block) => rows.AsSpan(block * BlockSize, BlockSize).Fill(0xDEAD);

    protected override void Dispose(bool disposing) => Disposed = true;

    private sealed class State : RecurrentState
    {
        private readonly FakeCache owner;

        public State(FakeCache owner)
        {
            this.owner = owner;
            owner.states++;
        }

        public override void CutBack(int length)
        {
        }

        protected override void Dispose(bool disposing) => owner.states--;
    }
}
