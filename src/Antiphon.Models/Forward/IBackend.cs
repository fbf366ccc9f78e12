namespace Antiphon.Models;

/// <summary>What runs a model over step batches. One thread at a time calls <see cref="Forward"/>.</summary>
public interface IBackend : IDisposable
{
    /// <summary>Number of logits.</summary>
    int VocabularySize { get; }

    /// <summary>Whether the model has a head, without which there are hidden states but no logits: a model made for embeddings alone.</summary>
    bool HasHead { get; }

    /// <summary>Values of a hidden state.</summary>
    int Width { get; }

    /// <summary>Longest sequence that the model can take, in tokens.</summary>
    int ContextLength { get; }

    /// <summary>Bytes of cache that one token takes, over all layers.</summary>
    long CacheBytesPerToken { get; }

    /// <summary>Bytes of memory that it will still take, beside caches, for what was promised already: weights that are being rearranged.</summary>
    long PendingBytes => 0;

    /// <summary>Creates a cache for sequences of this model.</summary>
    /// <param name="blockSize">Tokens in a block.</param>
    /// <param name="blockCount">Blocks in the pool.</param>
    KvCache CreateCache(int blockSize, int blockCount);

    /// <summary>Runs the batch: writes the cache rows of all its tokens and the logits and hidden states that are wanted.</summary>
    void Forward(StepBatch batch);
}
