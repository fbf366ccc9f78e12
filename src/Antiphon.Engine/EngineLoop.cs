using System.Diagnostics.CodeAnalysis;
using Antiphon.Models;

namespace Antiphon.Engine;

/// <summary>
/// The heart of the engine: one thread that runs <see cref="Step"/> as long as there is work. A request comes in through the inbox and waits; the scheduler admits it when there
/// is a slot and cache room; its prompt is computed in chunks beside the answers of others, and then its answer, a slice a step, until it ends.
/// Nothing else touches cache or model.
/// </summary>
[SuppressMessage("Design", "CA1001", Justification = "The thread's body disposes the batch when it ends.")]
internal sealed class EngineLoop
{
    private readonly IBackend backend;
    private readonly ITokenText? text;
    private readonly EngineOptions options;
    private readonly PrefixTree tree;
    private readonly IDecoder decoder;
    private readonly EngineTelemetry telemetry;
    private readonly SamplingWorkspace workspace;
    private readonly DecodingContext decoding;
    private readonly Scheduler scheduler;
    private readonly StepBatch batch = new();
    private readonly List<Choice> scheduled = [];
    private readonly List<Generation> active = [];
    private readonly TaskCompletionSource drained = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly long started;
    private long order;
    private int failuresInARow;
    private long stepStarted;

    /// <summary>Prepares the loop; <see cref="Run"/> is for a thread of its own.</summary>
    public EngineLoop(IBackend backend, ITokenText? text, EngineOptions options, KvCache cache, IDecoder decoder, EngineTelemetry telemetry)
    {
        this.backend = backend;
        this.text = text;
        this.options = options;
        this.decoder = decoder;
        this.telemetry = telemetry;
        Cache = cache;
        Inbox = new Inbox(options);
        tree = new PrefixTree(cache, share: options.PrefixShare);
        scheduler = new Scheduler(options, cache, tree, decoder, Inbox, telemetry);
        workspace = new SamplingWorkspace(backend.VocabularySize);
        decoding = new DecodingContext(workspace, telemetry);
        started = options.TimeProvider.GetTimestamp();
    }

    public Inbox Inbox { get; }

    public KvCache Cache { get; }

    /// <summary>Completes when a draining engine has nothing left to do, or has ended.</summary>
    public Task Drained => drained.Task;

    // Gauges, read from any thread.
    public int Running => scheduler.Running;

    public int Waiting => scheduler.Waiting + Inbox.MailCount;

    public int IdleBlocks => tree.IdleBlocks;

    public long Evictions => tree.Evictions;

    /// <summary>Writes the prefix cache; on the engine thread.</summary>
    public int SaveCache(Stream stream, ReadOnlySpan<byte> modelHash) => CacheFile.Save(tree, Cache, modelHash, stream);

    /// <summary>Reads the prefix cache; on the engine thread.</summary>
    public int RestoreCache(Stream stream, ReadOnlySpan<byte> modelHash) => CacheFile.Restore(tree, Cache, backend.VocabularySize, modelHash, stream);

    /// <summary>When the current step began; 0 between steps.</summary>
    public long StepStarted => Volatile.Read(ref stepStarted);

    /// <summary>The thread's body: steps until stopped, sleeps when idle, and leaves no request without an end.</summary>
    public void Run()
    {
        try
        {
            while (!Inbox.StopRequested)
            {
                if (!Step())
                {
                    if (Inbox.State == EngineState.Draining && active.Count == 0 && !Inbox.HasMail)
                    {
                        drained.TrySetResult();
                    }

                    Inbox.Wait();
                }
            }

            Close(EngineState.Stopped, null);
        }
        catch (Exception failure)
        {
            Close(EngineState.Faulted, failure);
        }
        finally
        {
            batch.Dispose();
            Cache.Dispose();
        }
    }

    /// <summary>One iteration: schedule, forward, decode, publish.</summary>
    /// <returns>Whether there was anything to compute.</returns>
    private bool Step()
    {
        Volatile.Write(ref stepStarted, options.TimeProvider.GetTimestamp());
        TakeMail();
        while (scheduler.Admit() is { } refused)
        {
            Fail(refused.Choice.Owner, refused.Failure);
        }

        scheduler.Schedule(batch, scheduled);
        if (scheduled.Count > 0 && Forward())
        {
            Decode();
        }

        Publish();
        Volatile.Write(ref stepStarted, 0);
        return scheduled.Count > 0;
    }

    private void TakeMail()
    {
        Inbox.RunErrands(alive: true);
        while (Inbox.TryTake(out Generation generation))
        {
            active.Add(generation);
            Enter(generation);
            if (generation.CancelRequested)
            {
                // Cancelled before it was in the list that cancelling goes through.
                End(generation, FinishReason.Cancelled);
            }
        }

        if (Inbox.TakeCancels(out bool all))
        {
            foreach (Generation generation in active)
            {
                if (all || generation.CancelRequested)
                {
                    End(generation, FinishReason.Cancelled);
                }
            }
        }
    }

    /// <summary>Ranks a request's choices and puts the first into the queue. The others follow when its prompt is computed: they share its blocks.</summary>
    private void Enter(Generation generation)
    {
        GenerationRequest request = generation.Request;
        TimeSpan arrival = options.TimeProvider.GetElapsedTime(started, generation.ArrivalTimestamp);
        PrefixTree.Path root = options.PrefixCaching ? tree.Root(request.CacheSalt, Cache.PrefixScope(generation.PlannedLength)) : tree.PrivateRoot(order);
        foreach (Choice choice in generation.Choices)
        {
            choice.Entry = new SchedulingEntry(order++, arrival, request.Priority, generation.Prompt.Length, generation.MaxTokens);
            choice.Root = root;
        }

        Enqueue(generation.Choices[0]);
    }

    private void Enqueue(Choice choice)
    {
        try
        {
            choice.Prepare(text, workspace);
            scheduler.Add(choice);
        }
        catch (Exception failure)
        {
            Fail(choice.Owner, failure);
        }
    }

    private bool Forward()
    {
        try
        {
            long begin = options.TimeProvider.GetTimestamp();
            backend.Forward(batch);
            scheduler.Observe(options.TimeProvider.GetElapsedTime(begin), batch);
            failuresInARow = 0;
            telemetry.CountStep(batch.Tokens.Length);
            return true;
        }
        catch (Exception failure)
        {
            telemetry.ForwardFailures++;
            ForwardFailedException error = new(failure);
            foreach (Choice choice in scheduled)
            {
                Fail(choice.Owner, error);
            }

            if (++failuresInARow >= options.MaxForwardFailures)
            {
                throw;
            }

            return false;
        }
    }

    /// <summary>Hands each slice its logits. Whatever goes wrong in one choice ends its request and no other.</summary>
    private void Decode()
    {
        decoding.Now = options.TimeProvider.GetTimestamp();
        for (int slice = 0; slice < scheduled.Count; slice++)
        {
            Choice choice = scheduled[slice];
            if (choice.FinishReason != FinishReason.None)
            {
                continue; // its request failed in this step
            }

            try
            {
                Decode(choice, slice);
            }
            catch (Exception failure)
            {
                Fail(choice.Owner, failure);
            }
        }
    }

    private void Decode(Choice choice, int slice)
    {
        if (choice.NeedsPromptLogprobs)
        {
            choice.RecordPrompt(batch, slice, decoding);
        }

        Sequence sequence = choice.Sequence!;
        bool more = sequence.Tokens.Length < choice.Tokens.Length;
        if (choice.IsEmbedding)
        {
            choice.Pool(batch, slice);
            sequence.Commit(sequence.Tentative);
        }
        else if (more)
        {
            sequence.Commit(sequence.Tentative);
        }
        else
        {
            decoder.Consume(choice, batch, slice, decoding);
        }

        tree.Enter(sequence, ref choice.Path, choice.Owner.Request.CacheOwner);
        if (!more && !choice.Owner.Forked)
        {
            Fork(choice.Owner);
        }

        if (choice.FinishReason != FinishReason.None)
        {
            Retire(choice);
        }
    }

    /// <summary>The prompt of a request is computed: its other choices can start from its blocks.</summary>
    private void Fork(Generation generation)
    {
        generation.Forked = true;
        for (int i = 1; i < generation.Choices.Length && generation.Error is null; i++)
        {
            Enqueue(generation.Choices[i]);
        }
    }

    /// <summary>Wakes the readers that have something to read.</summary>
    private void Publish()
    {
        for (int i = active.Count - 1; i >= 0; i--)
        {
            Generation generation = active[i];
            if (generation.HasNews)
            {
                generation.HasNews = false;
                if (generation.Unfinished == 0)
                {
                    active.RemoveAt(i);
                    generation.Complete();
                }

                generation.Events.Wake();
            }
        }
    }

    private void Fail(Generation generation, Exception failure)
    {
        if (generation.Unfinished > 0)
        {
            generation.Error ??= failure as EngineException ?? new DecodingFailedException("this request failed: " + failure.Message, failure);
            End(generation, FinishReason.Error);
        }
    }

    private void End(Generation generation, FinishReason reason)
    {
        foreach (Choice choice in generation.Choices)
        {
            if (choice.FinishReason == FinishReason.None)
            {
                choice.End(reason);
                Retire(choice);
            }
        }
    }

    /// <summary>Takes a choice that has ended out of everything.</summary>
    private void Retire(Choice choice)
    {
        if (choice.Retired)
        {
            return;
        }

        choice.Retired = true;
        scheduler.Remove(choice);
        if (--choice.Owner.Unfinished == 0)
        {
            Inbox.LeaveQueue(choice.Owner);
            telemetry.Finished++;
        }

        if (choice.DropMask() is { } failure)
        {
            Fail(choice.Owner, failure);
        }
    }

    /// <summary>Refuses what is still to come and ends what is there.</summary>
    private void Close(EngineState last, Exception? reason)
    {
        Inbox.Close(last, reason);
        Inbox.RunErrands(alive: false);
        while (Inbox.TryTake(out Generation generation))
        {
            active.Add(generation);
        }

        foreach (Generation generation in active)
        {
            Fail(generation, new EngineStoppedException(reason is null ? "the engine was stopped" : "the engine failed", reason));
        }

        Publish();
        drained.TrySetResult();
    }
}
