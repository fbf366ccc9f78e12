using Antiphon.Models;

namespace Antiphon.Engine.Tests;

/// <summary>Saving the prefix cache and restoring it in another engine.</summary>
public class CacheFileTests
{
    private static readonly byte[] Model = [.. Enumerable.Range(0, 32).Select(i => (byte)i)];
    private static readonly EngineOptions Options = new() { BlockSize = 4, BlockCount = 64 };

    private static int[] Text(int seed, int length) => [.. Enumerable.Range(0, length).Select(i => new Random((seed * 1000) + i).Next(48))];

    private static async Task<(int[] Tokens, float[] Logprobs, int Cached)> AskAsync(InferenceEngine engine, int[] prompt, string? salt = null)
    {
        using Generation generation = engine.Submit(new GenerationRequest { PromptTokens = prompt, MaxTokens = 8, Seed = 3, CacheSalt = salt, Logprobs = true, TopLogprobs = 2 });
        List<int> tokens = [];
        List<float> logprobs = [];
        GenerationUsage usage = default;
        await foreach (GenerationEvent item in generation)
        {
            usage = item.Usage;
            if (item.Token is int token)
            {
                tokens.Add(token);
                logprobs.Add(item.Logprob!.Value);
            }
        }

        return ([.. tokens], [.. logprobs], usage.CachedTokens);
    }

    private static async Task<byte[]> SavedAsync(params (int[] Prompt, string? Salt)[] prompts)
    {
        using var backend = new FakeBackend();
        await using var engine = new InferenceEngine(backend, null, Options);
        foreach ((int[] prompt, string? salt) in prompts)
        {
            await AskAsync(engine, prompt, salt);
        }

        using var stream = new MemoryStream();
        Assert.True(await engine.SaveCacheAsync(stream, Model) > 0);
        return stream.ToArray();
    }

    [Fact]
    public async Task Answers_from_a_restored_cache_are_the_same_to_the_bit()
    {
        int[] shared = Text(1, 24);
        int[] first = [.. shared, .. Text(2, 9)];
        int[] second = [.. shared, .. Text(3, 14)];
        byte[] saved = await SavedAsync((first, null), (second, null), (first, "salt"));
        using var coldBackend = new FakeBackend();
        await using var cold = new InferenceEngine(coldBackend, null, Options);
        using var warmBackend = new FakeBackend();
        await using var warm = new InferenceEngine(warmBackend, null, Options);
        int blocks = await warm.RestoreCacheAsync(new MemoryStream(saved), Model);
        Assert.Equal(blocks, warm.GetStatistics().CacheBlocksIdle);
        Assert.Equal(0, warm.GetStatistics().CacheBlocksUsed);
        foreach ((int[] prompt, string? salt) in ((int[], string?)[])[(first, null), (second, null), (first, "salt"), ([.. shared, 1, 2, 3], null)])
        {
            (int[] tokens, float[] logprobs, int cached) = await AskAsync(warm, prompt, salt);
            (int[] wanted, float[] wantedLogprobs, _) = await AskAsync(cold, prompt, salt + "other");
            Assert.Equal(wanted, tokens);
            Assert.Equal(wantedLogprobs.Select(BitConverter.SingleToInt32Bits), logprobs.Select(BitConverter.SingleToInt32Bits));
            Assert.True(cached >= 24, $"{cached} tokens came from the restored cache");
        }

        // What was cached under a salt is found under it alone.
        (_, _, int stranger) = await AskAsync(warm, first, "another salt");
        Assert.Equal(0, stranger);
    }

    [Fact]
    public async Task A_damaged_file_is_refused_and_changes_nothing()
    {
        byte[] saved = await SavedAsync((Text(1, 40), null), (Text(2, 30), "salt"));
        using var backend = new FakeBackend();
        await using var engine = new InferenceEngine(backend, null, Options);
        for (int at = 0; at < saved.Length; at += 64)
        {
            byte[] changed = [.. saved];
            changed[at] ^= 0x41;
            await RefusedAsync(changed);
            await RefusedAsync(saved[..at]);
        }

        await RefusedAsync([.. saved, 0]);
        await RefusedAsync(saved[..^1]);
        Assert.True(await engine.RestoreCacheAsync(new MemoryStream(saved), Model) > 0);

        async Task RefusedAsync(byte[] bytes)
        {
            // A stream that can say its length, and one that cannot.
            await Assert.ThrowsAsync<CacheFileException>(() => engine.RestoreCacheAsync(new MemoryStream(bytes), Model));
            using var pipe = new System.IO.Compression.BrotliStream(new MemoryStream(Packed(bytes)), System.IO.Compression.CompressionMode.Decompress);
            await Assert.ThrowsAsync<CacheFileException>(() => engine.RestoreCacheAsync(pipe, Model));
            Assert.Equal(64, backend.Cache!.FreeBlocks);
            Assert.Equal(0, engine.GetStatistics().CacheBlocksIdle);
        }
    }

    [Fact]
    public async Task Another_model_block_size_or_vocabulary_is_refused()
    {
        byte[] saved = await SavedAsync((Text(1, 40), null));
        byte[] other = [.. Model];
        other[31]++;
        using var backend = new FakeBackend();
        await using var engine = new InferenceEngine(backend, null, Options);
        Assert.Contains("another model", (await Assert.ThrowsAsync<CacheFileException>(() => engine.RestoreCacheAsync(new MemoryStream(saved), other))).Message);
        using var wideBackend = new FakeBackend();
        await using var wide = new InferenceEngine(wideBackend, null, Options with { BlockSize = 8 });
        Assert.Contains("blocks of 4 tokens", (await Assert.ThrowsAsync<CacheFileException>(() => wide.RestoreCacheAsync(new MemoryStream(saved), Model))).Message);
        using var smallBackend = new FakeBackend(vocabularySize: 20);
        await using var small = new InferenceEngine(smallBackend, null, Options);
        await Assert.ThrowsAsync<CacheFileException>(() => small.RestoreCacheAsync(new MemoryStream(saved), Model));
    }

    [Fact]
    public async Task A_smaller_pool_takes_what_was_used_last()
    {
        int[] old = Text(1, 40);
        int[] recent = Text(2, 40);
        byte[] saved = await SavedAsync((old, null), (recent, null));
        using var backend = new FakeBackend();
        await using var engine = new InferenceEngine(backend, null, Options with { BlockCount = 14 });
        Assert.Equal(14, await engine.RestoreCacheAsync(new MemoryStream(saved), Model));
        (_, _, int cached) = await AskAsync(engine, recent);
        Assert.True(cached >= 36, $"{cached}");
    }

    [Fact]
    public async Task A_cache_in_use_recurrent_or_off_is_refused()
    {
        byte[] saved = await SavedAsync((Text(1, 40), null));
        using var backend = new FakeBackend();
        await using var engine = new InferenceEngine(backend, null, Options);
        await AskAsync(engine, Text(5, 20));
        Assert.Contains("in use", (await Assert.ThrowsAsync<CacheFileException>(() => engine.RestoreCacheAsync(new MemoryStream(saved), Model))).Message);
        using var recurrentBackend = new FakeBackend { CheckpointEvery = 2 };
        await using var recurrent = new InferenceEngine(recurrentBackend, null, Options);
        Assert.Contains("recurrent", (await Assert.ThrowsAsync<CacheFileException>(() => recurrent.SaveCacheAsync(new MemoryStream(), Model))).Message);
        using var offBackend = new FakeBackend();
        await using var off = new InferenceEngine(offBackend, null, Options with { PrefixCaching = false });
        await Assert.ThrowsAsync<CacheFileException>(() => off.SaveCacheAsync(new MemoryStream(), Model));
    }

    [Fact]
    public async Task A_stopped_engine_says_so_and_a_drained_one_saves()
    {
        using var backend = new FakeBackend();
        var engine = new InferenceEngine(backend, null, Options);
        await AskAsync(engine, Text(5, 20));
        await engine.DrainAsync(TestContext.Current.CancellationToken);
        Assert.True(await engine.SaveCacheAsync(new MemoryStream(), Model) > 0);
        await engine.DisposeAsync();
        await Assert.ThrowsAsync<EngineStoppedException>(() => engine.SaveCacheAsync(new MemoryStream(), Model));
    }

    private static byte[] Packed(byte[] bytes)
    {
        using var memory = new MemoryStream();
        using (var packer = new System.IO.Compression.BrotliStream(memory, System.IO.Compression.CompressionLevel.Fastest, leaveOpen: true))
        {
            packer.Write(bytes);
        }

        return memory.ToArray();
    }
}
