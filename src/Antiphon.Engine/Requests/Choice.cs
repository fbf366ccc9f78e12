using System.Runtime.InteropServices;
using Antiphon.Models;

namespace Antiphon.Engine;

/// <summary>
/// One answer to a request, from the queue to its last token: its tokens, its sequence in the cache while it runs, and all that choosing the next token
/// depends on. Belongs to the engine thread.
/// </summary>
/// <remarks>
/// What is left to compute is always the tokens behind <see cref="Sequence.Length"/>. One is left: a decode step. More: a prompt, or the recomputation of a
/// preempted answer, which is the same thing.
/// </remarks>
internal sealed class Choice(Generation owner, int index)
{
    private readonly List<int> tokens = [];
    private Sampler? sampler;
    private ILogitsMask? mask;
    private Pooler? pooler;
    private AnswerText? text;
    private long lastTokenTimestamp;

    public Generation Owner { get; } = owner;

    public int Index { get; } = index;

    /// <summary>Its rank for the scheduling policy.</summary>
    public SchedulingEntry Entry;

    /// <summary>Where its cached blocks begin in the prefix tree.</summary>
    public PrefixTree.Path Root;

    /// <summary>How far its blocks are entered in the prefix tree.</summary>
    public PrefixTree.Path Path;

    /// <summary>The sequence while it runs; null while it waits.</summary>
    public Sequence? Sequence { get; set; }

    /// <summary>Why it ended.</summary>
    public FinishReason FinishReason { get; private set; }

    /// <summary>Whether the engine has let go of it.</summary>
    public bool Retired { get; set; }

    /// <summary>Prompt and answer.</summary>
    public ReadOnlySpan<int> Tokens => CollectionsMarshal.AsSpan(tokens);

    public int Generated => tokens.Count - Owner.Prompt.Length;

    /// <summary>Tokens that have no committed cache row yet.</summary>
    public int Pending => tokens.Count - Sequence!.Length;

    /// <summary>Whether what is left is a prompt, and not a decode step.</summary>
    public bool IsPrompt => Pending > 1 || IsEmbedding;

    /// <summary>Whether its prompt's log-probabilities are wanted and not complete: the first choice sees to them.</summary>
    public bool NeedsPromptLogprobs => Index == 0 && Owner.NeedsPromptLogprobs;

    /// <summary>Whether a vector is wanted, and no answer.</summary>
    public bool IsEmbedding => Owner.Pooling is not null;

    /// <summary>How many tokens may come from the prefix cache: not the last, whose logits are wanted, nor those whose log-probabilities or hidden states are.</summary>
    public int Cacheable => pooler is not null ? pooler.Next : NeedsPromptLogprobs ? Owner.RecordedPrompt - 1 : tokens.Count - 1;

    /// <summary>Makes what it needs to run. What the caller supplied (mask, decoder) may throw.</summary>
    public void Prepare(ITokenText? vocabulary, SamplingWorkspace workspace)
    {
        GenerationRequest request = Owner.Request;
        tokens.AddRange(Owner.Prompt);
        if (Owner.Pooling is { } pooling)
        {
            pooler = new Pooler(pooling, tokens.Count);
            return;
        }

        sampler = new Sampler(request.Sampling, Owner.Seed, Index, Owner.Prompt, Owner.Breakers, workspace);
        text = request.WantText && vocabulary is not null ? new AnswerText(vocabulary.CreateDecoder(request.SkipSpecialTokens), request.StopStrings) : null;
        mask = request.CreateMask?.Invoke(Index);
    }

    /// <summary>Chooses the next token from a row of logits (worked on in place), adds it to the answer and tells the reader.</summary>
    /// <returns>The token; <see cref="FinishReason"/> says whether it was the last.</returns>
    public int Next(LogitRow row, DecodingContext context)
    {
        GenerationRequest request = Owner.Request;
        if (request.Logprobs)
        {
            context.Logprobs.Load(row);
        }

        bool stopsCount = mask is not null || Generated >= request.MinTokens;
        int token = sampler!.Sample(row, Tokens, stopsCount ? null : Owner.StopTokens, mask);
        tokens.Add(token);
        sampler.Accept(Tokens);
        mask?.Accept(token);

        bool stopToken = stopsCount && Owner.StopTokens.Contains(token);
        string piece = stopToken ? "" : text?.Append(token, stopsCount) ?? "";
        FinishReason reason = stopToken || text?.StopString is not null || mask?.IsComplete == true ? FinishReason.Stop
            : Generated == Owner.MaxTokens ? FinishReason.Length
            : FinishReason.None;
        if (reason != FinishReason.None)
        {
            piece += text?.Finish();
        }

        FinishReason = reason;
        Owner.CompletionTokens++;
        context.Telemetry.CountToken(context.Now, Generated == 1 ? Owner.ArrivalTimestamp : lastTokenTimestamp, Generated == 1);
        lastTokenTimestamp = context.Now;
        Tell(new GenerationEvent
        {
            Choice = Index,
            Token = token,
            Text = piece,
            Logprob = request.Logprobs ? context.Logprobs.Of(token).Logprob : null,
            TopLogprobs = request.Logprobs ? context.Logprobs.Top(request.TopLogprobs) : null,
            FinishReason = FinishReason,
            StopString = text?.StopString,
            Usage = Owner.Usage,
        });
        return token;
    }

    /// <summary>Asks for what the chunk of a text gives to its vector.</summary>
    public void WantStates(StepBatch batch, int slice) => pooler?.Want(batch, slice);

    /// <summary>Adds a chunk to the text's vector, and ends when that is complete.</summary>
    public void Pool(StepBatch batch, int slice)
    {
        pooler!.Add(batch, slice);
        if (pooler.IsComplete)
        {
            Owner.Embedding = pooler.ToVector();
            FinishReason = FinishReason.Stop;
            Tell(new GenerationEvent { Choice = Index, Text = "", FinishReason = FinishReason, Usage = Owner.Usage });
        }
    }

    /// <summary>Records the log-probabilities of the prompt tokens that a chunk predicts.</summary>
    /// <param name="batch">The batch, with all logits of the slice.</param>
    /// <param name="slice">The chunk.</param>
    /// <param name="context">What reads the logits.</param>
    public void RecordPrompt(StepBatch batch, int slice, DecodingContext context)
    {
        Slice chunk = batch.Slices[slice];
        PositionLogprobs?[] recorded = (PositionLogprobs?[])Owner.PromptLogprobs;
        for (int i = 0; i < chunk.Count && Owner.NeedsPromptLogprobs; i++)
        {
            int predicted = chunk.FirstRow + i + 1;
            if (predicted == Owner.RecordedPrompt)
            {
                context.Logprobs.Load(LogitRow.Of(batch, slice, i));
                recorded[predicted] = new PositionLogprobs(context.Logprobs.Of(Owner.Prompt[predicted]), context.Logprobs.Top(Owner.Request.TopLogprobs));
                Owner.RecordedPrompt++;
            }
        }
    }

    /// <summary>Ends it from outside, without a further token.</summary>
    public void End(FinishReason reason)
    {
        FinishReason = reason;
        string rest = "";
        try
        {
            rest = reason == FinishReason.Cancelled ? text?.Finish() ?? "" : "";
        }
        catch (Exception) when (reason == FinishReason.Cancelled)
        {
            // A decoder of the caller's that fails now changes nothing: the choice ends.
        }

        Tell(new GenerationEvent { Choice = Index, Text = rest, FinishReason = reason, Usage = Owner.Usage });
    }

    /// <summary>Lets go of what the caller supplied.</summary>
    /// <returns>What went wrong at that, if anything.</returns>
    public Exception? DropMask()
    {
        try
        {
            mask?.Dispose();
            return null;
        }
        catch (Exception failure)
        {
            return failure;
        }
        finally
        {
            mask = null;
        }
    }

    private void Tell(in GenerationEvent item)
    {
        Owner.Events.Add(item);
        Owner.HasNews = true;
    }
}
