using Antiphon.Models;

namespace Antiphon.Engine;

/// <summary>
/// Decides what a step computes: who is admitted, who gives way, and how the tokens of the step are shared out. Answers go first, one slice each; prompts share
/// what is left of the budget.
/// </summary>
/// <param name="options">Limits and policy.</param>
/// <param name="cache">The pool of blocks.</param>
/// <param name="tree">The blocks that can be used again.</param>
/// <param name="decoder">What proposes the slices of answers.</param>
/// <param name="inbox">Is told who left the queue.</param>
/// <param name="telemetry">Counts.</param>
internal sealed class Scheduler(EngineOptions options, KvCache cache, PrefixTree tree, IDecoder decoder, Inbox inbox, EngineTelemetry telemetry)
{
    /// <summary>Most tokens of a prompt chunk of which all logits are wanted: a row of logits is large.</summary>
    private const int ScoredChunk = 32;

    private readonly ChoiceQueue waiting = new(options.Policy);
    private readonly ChoiceQueue running = new(options.Policy);
    private readonly List<Choice> prompts = [];
    private readonly List<int> found = [];
    private readonly StepPace pace = new(options.PrefillTime);
    private int answers;

    public int Running => running.Count;

    public int Waiting => waiting.Count;

    /// <summary>Puts a choice into the queue.</summary>
    public void Add(Choice choice) => waiting.Add(choice);

    /// <summary>Takes a choice out, wherever it is, and its blocks back.</summary>
    public void Remove(Choice choice)
    {
        if (!running.Remove(choice))
        {
            waiting.Remove(choice);
        }

        Release(choice);
    }

    /// <summary>Fills a step: slice i of the batch belongs to choice i of <paramref name="scheduled"/>.</summary>
    public void Schedule(StepBatch batch, List<Choice> scheduled)
    {
        batch.Clear();
        scheduled.Clear();
        ScheduleAnswers(batch, scheduled);
        answers = batch.Tokens.Length;
        SchedulePrompts(batch, scheduled);
    }

    /// <summary>Learns from the step that was scheduled last.</summary>
    public void Observe(TimeSpan elapsed, StepBatch batch) => pace.Observe(elapsed, batch.Tokens.Length - answers, answers);

    /// <summary>Admits from the front of the queue while there are slots and blocks. Nobody overtakes a head that does not fit yet.</summary>
    /// <returns>A choice that could not be started, and why; null when all went well. Call again after dealing with it.</returns>
    public (Choice Choice, Exception Failure)? Admit()
    {
        while (waiting.Count > 0)
        {
            Choice head = waiting.First;
            while (!Fits(head))
            {
                if (!options.Policy.PreemptsForAdmission || running.Count == 0 || options.Policy.Compare(head.Entry, running.Last.Entry) > 0)
                {
                    return null;
                }

                Preempt(running.Last);
            }

            waiting.Remove(head);
            try
            {
                head.Sequence = tree.Start(head.Root, head.Tokens, found, head.Owner.PlannedLength, out head.Path);
            }
            catch (Exception failure)
            {
                return (head, failure);
            }

            Reserve(head.Sequence, head.Pending);
            running.Add(head);
            if (!head.Owner.Admitted)
            {
                inbox.LeaveQueue(head.Owner);
                head.Owner.CachedTokens = head.Sequence.Length;
                head.Owner.DivergedAt = head.Sequence.Length < head.Tokens.Length / 2 ? tree.Divergence(head.Root, head.Tokens, found) : null;
                telemetry.CountAdmission(head.Owner, head.Sequence.Length);
            }
        }

        return null;
    }

    /// <summary>
    /// Whether there is a slot, and room for all that the choice has to compute and one block of growth for each that runs. Its cached blocks are in
    /// <see cref="found"/> then.
    /// </summary>
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
    private void ScheduleAnswers(StepBatch batch, List<Choice> scheduled)
    {
        for (int i = 0; i < running.Count; i++)
        {
            Choice choice = running[i];
            if (choice.IsPrompt)
            {
                continue;
            }

            while (choice.Sequence is { } sequence && !Reserve(sequence, decoder.SliceTokens))
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

    /// <summary>
    /// Gives the rest of the budget to prompts, the shortest first, so that a short prompt has its first token one step after the step in which it came,
    /// however many long ones are under way. A quarter is kept for the first in the policy's order: a stream of short prompts slows a long one down, and stops none.
    /// A step that brings a first token is not filled up beyond that quarter: who waits for it would wait for a long prompt's chunk a second time.
    /// </summary>
    private void SchedulePrompts(StepBatch batch, List<Choice> scheduled)
    {
        prompts.Clear();
        for (int i = 0; i < running.Count; i++)
        {
            if (running[i].IsPrompt)
            {
                prompts.Add(running[i]);
            }
        }

        if (prompts.Count == 0)
        {
            return;
        }

        bool besideAnswers = scheduled.Count > 0;
        int budget = options.TokenBudget - batch.Tokens.Length;
        budget = Math.Min(budget, pace.PromptTokens(besideAnswers, besideAnswers ? options.PrefillChunk : options.TokenBudget));

        Choice first = prompts[0];
        int quarter = Math.Min((budget + 3) / 4, first.Pending);
        int kept = quarter;
        bool brings = false;
        while (prompts.Count > 0 && budget > 0)
        {
            int shortest = 0;
            for (int i = 1; i < prompts.Count; i++)
            {
                shortest = prompts[i].Pending < prompts[shortest].Pending ? i : shortest;
            }

            Choice choice = prompts[shortest];
            prompts.RemoveAt(shortest);
            kept = choice == first ? 0 : kept;
            Sequence sequence = choice.Sequence!;
            bool scored = choice.NeedsPromptLogprobs;
            int count = Math.Min(choice.Pending, budget - kept);
            count = scored ? Math.Min(count, ScoredChunk) : count;
            if (brings && count < choice.Pending)
            {
                count = choice == first ? Math.Min(count, quarter) : 0;
            }

            if (count > 0)
            {
                brings |= count == choice.Pending;
                bool last = count == choice.Pending && !choice.IsEmbedding;
                int slice = batch.Add(sequence, choice.Tokens.Slice(sequence.Length, count), scored ? LogitsWanted.All : last ? LogitsWanted.Last : LogitsWanted.None);
                choice.WantStates(batch, slice);
                scheduled.Add(choice);
                budget -= count;
            }
        }
    }

    private bool Reserve(Sequence sequence, int tokens)
    {
        tree.MakeRoom(sequence.BlocksNeeded(tokens));
        return sequence.TryReserve(tokens);
    }

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
}
