using System.Diagnostics.CodeAnalysis;
using Antiphon.Models;

namespace Antiphon.Engine;

/// <summary>
/// The heart of the engine: one thread that runs <see cref="Step"/> as long as there is work. A request comes in through the inbox, waits, is admitted when there is a
/// slot and cache room, computes its prompt in chunks beside the answers of others, and then one slice a step until it ends. Nothing else touches cache or model.
/// </summary>
[SuppressMessage("Design", "CA1001", Justification = "Run disposes what it owns; callers may signal after it has ended.")]
internal sealed class EngineLoop
{
    /// <summary>Most tokens of a prompt chunk of which all logits are wanted: a row of logits is large.</summary>
    private const int ScoredChunk = 32;

    private readonly IBackend backend;
    private readonly ITokenText? text;
    private readonly EngineOptions options;
    private readonly KvCache cache;
    private readonly PrefixTree tree;
    private readonly EngineTelemetry telemetry;
    private readonly SamplingWorkspace workspace;
    private readonly DecodingContext decoding;
    private readonly IDecoder decoder;
    private readonly StepBatch batch = new();
    private readonly long started;
    private readonly AutoResetEvent signal = new(false);
    private readonly TaskCompletionSource drained = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // Shared with callers, under the gate.
    private readonly Lock gate = new();
    private readonly Queue<Generation> inbox = new();
    private int queued;
    private volatile EngineState state;
    private Exception? fault;

    // Raised by callers, lowered by the engine thread.
    private bool hasMail;
    private bool hasCancels;
    private bool cancelEverything;
    private bool stopping;

    // The engine thread's own.
    private readonly ChoiceQueue waiting;
    private readonly ChoiceQueue running;
    private readonly List<Choice> scheduled = [];
    private readonly List<Choice> prompts = [];
    private readonly List<Generation> active = [];
    private readonly List<int> found = [];
    private long order;
    private int failuresInARow;
    private long stepStarted;

    public EngineLoop(IBackend backend, ITokenText? text, EngineOptions options, KvCache cache, IDecoder decoder, EngineTelemetry telemetry)
    {
        this.backend = backend;
        this.text = text;
        this.options = options;
        this.cache = cache;
        this.decoder = decoder;
        this.telemetry = telemetry;
        tree = new PrefixTree(cache);
        workspace = new SamplingWorkspace(backend.VocabularySize);
        decoding = new DecodingContext(workspace, telemetry);
        waiting = new ChoiceQueue(options.Policy);
        running = new ChoiceQueue(options.Policy);
        started = options.TimeProvider.GetTimestamp();
    }

    public EngineState State => state;

    public Exception? Fault => Volatile.Read(ref fault);

    public Task Drained => drained.Task;

    public KvCache Cache => cache;

    public int Running => running.Count;

    public int Waiting => waiting.Count;

    public int IdleBlocks => tree.IdleBlocks;

    public long Evictions => tree.Evictions;

    public long StepStarted => Volatile.Read(ref stepStarted);

    // ---- what callers do ----

    public void Enqueue(Generation generation)
    {
        lock (gate)
        {
            if (state != EngineState.Running)
            {
                throw new EngineStoppedException(state == EngineState.Draining ? "the engine drains and takes no new requests" : "the engine has stopped", fault);
            }

            if (queued >= options.QueueLimit)
            {
                throw new QueueFullException(options.QueueLimit);
            }

            queued++;
            generation.ArrivalTimestamp = options.TimeProvider.GetTimestamp();
            inbox.Enqueue(generation);
            Volatile.Write(ref hasMail, true);
        }

        signal.Set();
    }

    public void NoteCancel()
    {
        Volatile.Write(ref hasCancels, true);
        signal.Set();
    }

    public void Drain()
    {
        lock (gate)
        {
            state = state == EngineState.Running ? EngineState.Draining : state;
        }

        signal.Set();
    }

    public void CancelAll()
    {
        Volatile.Write(ref cancelEverything, true);
        NoteCancel();
    }

    public void Stop()
    {
        Volatile.Write(ref stopping, true);
        signal.Set();
    }

    // ---- the engine thread ----

    /// <summary>The thread's body: steps until stopped, sleeps when idle, and leaves no request without an end.</summary>
    public void Run()
    {
        try
        {
            while (!Volatile.Read(ref stopping))
            {
                if (!Step())
                {
                    if (State == EngineState.Draining && active.Count == 0 && !Volatile.Read(ref hasMail))
                    {
                        drained.TrySetResult();
                    }

                    signal.WaitOne();
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
            cache.Dispose();
        }
    }

    /// <summary>One iteration: schedule, forward, decode, publish.</summary>
    /// <returns>Whether there was anything to compute.</returns>
    public bool Step()
    {
        Volatile.Write(ref stepStarted, options.TimeProvider.GetTimestamp());
        TakeMail();
        Admit();
        batch.Clear();
        scheduled.Clear();
        ScheduleAnswers();
        SchedulePrompts();
        bool works = scheduled.Count > 0;
        if (works && Forward())
        {
            Decode();
        }

        Publish();
        Volatile.Write(ref stepStarted, 0);
        return works;
    }

    private void TakeMail()
    {
        while (Volatile.Read(ref hasMail))
        {
            Generation? generation;
            lock (gate)
            {
                inbox.TryDequeue(out generation);
                hasMail = inbox.Count > 0;
            }

            if (generation is not null)
            {
                active.Add(generation);
                Enter(generation);
                if (generation.CancelRequested)
                {
                    // Cancelled before it was in the list that cancelling goes through.
                    End(generation, FinishReason.Cancelled);
                }
            }
        }

        if (Interlocked.Exchange(ref hasCancels, false))
        {
            bool all = Volatile.Read(ref cancelEverything);
            for (int i = active.Count - 1; i >= 0; i--)
            {
                if (all || active[i].CancelRequested)
                {
                    End(active[i], FinishReason.Cancelled);
                }
            }
        }
    }

    /// <summary>Ranks a request's choices and puts the first into the queue. The others follow when its prompt is computed: they share its blocks.</summary>
    private void Enter(Generation generation)
    {
        GenerationRequest request = generation.Request;
        TimeSpan arrival = options.TimeProvider.GetElapsedTime(started, generation.ArrivalTimestamp);
        PrefixTree.Path root = options.PrefixCaching ? tree.Root(request.CacheSalt) : tree.PrivateRoot(order);
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
            waiting.Add(choice);
        }
        catch (Exception failure)
        {
            Fail(choice.Owner, failure);
        }
    }

    /// <summary>Admits from the front of the queue while there are slots and blocks. Nobody overtakes a head that does not fit yet.</summary>
    private void Admit()
    {
        while (waiting.Count > 0)
        {
            Choice head = waiting.First;
            while (!Fits(head) && options.Policy.PreemptsForAdmission && running.Count > 0
                && options.Policy.Compare(head.Entry, running.Last.Entry) < 0)
            {
                Preempt(running.Last);
            }

            if (!Fits(head))
            {
                return;
            }

            waiting.Remove(head);
            try
            {
                head.Sequence = tree.Start(head.Root, head.Tokens, found, out head.Path);
                tree.MakeRoom(head.Sequence.BlocksNeeded(head.Pending));
                if (!head.Sequence.TryReserve(head.Pending))
                {
                    throw new InvalidOperationException("the cache has fewer blocks than it counted");
                }

                running.Add(head);
            }
            catch (Exception failure)
            {
                Fail(head.Owner, failure);
                continue;
            }

            if (!head.Owner.Admitted)
            {
                CountAdmission(head.Owner);
                head.Owner.CachedTokens = head.Sequence.Length;
                telemetry.CountAdmission(head.Owner, head.Sequence.Length);
            }
        }
    }

    /// <summary>Whether there is a slot, and room for all that the choice has to compute and one block of growth for each that runs. Leaves its cached blocks in <see cref="found"/>.</summary>
    private bool Fits(Choice choice)
    {
        if (running.Count == options.MaxSequences)
        {
            return false;
        }

        tree.Match(choice.Root, choice.Tokens[..choice.Cacheable], found);
        int needed = ((choice.Tokens.Length + cache.BlockSize - 1) / cache.BlockSize) - found.Count + running.Count;
        return needed <= cache.FreeBlocks + tree.IdleBlocks - tree.CountIdle(found);
    }

    /// <summary>Adds the slices of running answers. When blocks run out, the last in the policy's order gives way.</summary>
    private void ScheduleAnswers()
    {
        for (int i = 0; i < running.Count; i++)
        {
            Choice choice = running[i];
            if (choice.Pending > 1)
            {
                continue;
            }

            while (choice.Sequence is { } sequence && !(tree.MakeRoom(sequence.BlocksNeeded(decoder.SliceTokens)) && sequence.TryReserve(decoder.SliceTokens)))
            {
                Preempt(running.Last);
            }

            if (choice.Sequence is not null)
            {
                decoder.Propose(choice, batch);
                scheduled.Add(choice);
            }
        }
    }

    /// <summary>Shares what is left of the budget among prompts, the shortest first, so that a short prompt never waits behind the chunks of long ones.</summary>
    private void SchedulePrompts()
    {
        prompts.Clear();
        for (int i = 0; i < running.Count; i++)
        {
            if (running[i].Pending > 1)
            {
                prompts.Add(running[i]);
            }
        }

        int budget = options.TokenBudget - batch.Tokens.Length;
        if (scheduled.Count > 0)
        {
            budget = Math.Min(budget, options.PrefillChunk);
        }

        while (prompts.Count > 0 && budget > 0)
        {
            int shortest = 0;
            for (int i = 1; i < prompts.Count; i++)
            {
                shortest = prompts[i].Pending < prompts[shortest].Pending ? i : shortest;
            }

            Choice choice = prompts[shortest];
            bool scored = choice.Index == 0 && choice.Owner.NeedsPromptLogprobs;
            int share = Math.Max(1, budget / prompts.Count);
            int count = Math.Min(choice.Pending, scored ? Math.Min(share, ScoredChunk) : share);
            LogitsWanted wanted = scored ? LogitsWanted.All : count == choice.Pending ? LogitsWanted.Last : LogitsWanted.None;
            batch.Add(choice.Sequence!, choice.Tokens.Slice(choice.Sequence!.Length, count), wanted);
            scheduled.Add(choice);
            budget -= count;
            prompts.RemoveAt(shortest);
        }
    }

    private bool Forward()
    {
        try
        {
            backend.Forward(batch);
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
                continue;
            }

            try
            {
                if (choice.Index == 0 && choice.Owner.NeedsPromptLogprobs)
                {
                    choice.RecordPrompt(batch, slice, decoding);
                }

                Sequence sequence = choice.Sequence!;
                if (sequence.Tokens.Length < choice.Tokens.Length)
                {
                    sequence.Commit(sequence.Tentative);
                }
                else
                {
                    decoder.Consume(choice, batch, slice, decoding);
                }

                tree.Enter(sequence, ref choice.Path);
                Fork(choice);
                if (choice.FinishReason != FinishReason.None)
                {
                    Retire(choice);
                }
            }
            catch (Exception failure)
            {
                Fail(choice.Owner, failure);
            }
        }
    }

    /// <summary>Once the prompt of a request is computed, its other choices can start from its blocks.</summary>
    private void Fork(Choice choice)
    {
        if (choice.Owner.Forked || choice.Generated == 0)
        {
            return;
        }

        choice.Owner.Forked = true;
        foreach (Choice other in choice.Owner.Choices)
        {
            if (other != choice && choice.Owner.Error is null)
            {
                Enqueue(other);
            }
        }
    }

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

    // ---- ways to leave ----

    /// <summary>Takes a running choice's blocks away. It waits again, in its place in the policy's order, and what the cache forgets is computed anew.</summary>
    private void Preempt(Choice choice)
    {
        running.Remove(choice);
        Release(choice);
        waiting.Add(choice);
        telemetry.Preemptions++;
    }

    private void Release(Choice choice)
    {
        if (choice.Sequence is { } sequence)
        {
            choice.Sequence = null;
            tree.Release(sequence);
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
        if (!running.Remove(choice))
        {
            waiting.Remove(choice);
        }

        Release(choice);
        if (--choice.Owner.Unfinished == 0)
        {
            CountAdmission(choice.Owner);
            telemetry.Finished++;
        }

        choice.DropMask();
    }

    private void Fail(Generation generation, Exception failure)
    {
        if (generation.Unfinished == 0)
        {
            return;
        }

        generation.Error ??= failure as EngineException ?? new DecodingFailedException("this request failed: " + failure.Message, failure);
        End(generation, FinishReason.Error);
    }

    private void End(Generation generation, FinishReason reason)
    {
        foreach (Choice choice in generation.Choices)
        {
            if (choice.FinishReason == FinishReason.None)
            {
                choice.End(reason);
                try
                {
                    Retire(choice);
                }
                catch (Exception) when (choice.Sequence is null)
                {
                    // A mask of the caller's that cannot be disposed: the choice is out of everything by now.
                }
            }
        }
    }

    /// <summary>A request counts against the queue's limit until its first admission.</summary>
    private void CountAdmission(Generation generation)
    {
        if (!generation.Admitted)
        {
            generation.Admitted = true;
            lock (gate)
            {
                queued--;
            }
        }
    }

    /// <summary>Refuses what is still to come and ends what is there.</summary>
    private void Close(EngineState last, Exception? reason)
    {
        lock (gate)
        {
            fault = reason;
            state = last;
            while (inbox.TryDequeue(out Generation? generation))
            {
                active.Add(generation);
            }
        }

        foreach (Generation generation in active)
        {
            Fail(generation, new EngineStoppedException(reason is null ? "the engine was stopped" : "the engine failed", reason));
        }

        Publish();
        drained.TrySetResult();
    }
}
