using Antiphon.Kernels;
using Antiphon.Kernels.Packed;

namespace Antiphon.Models;

/// <summary>Runs a spec over step batches on the processor. A row's result depends on its sequence alone, bit for bit, whatever else is in the batch.</summary>
internal sealed unsafe class CpuBackend : IBackend
{
    private readonly ModelSpec spec;
    private readonly ModelWeights weights;
    private readonly ComputeTeam team;
    private readonly PackingQueue? packing;
    private readonly KvFormat kvFormat;
    private readonly long snapshotBytes;
    private readonly RecurrentLayout? recurrent;
    private readonly int[] ropeOfLayer;
    private readonly RopeSpec? longRope;
    private readonly StepRows rows;
    private readonly LayerContext context;
    private readonly MixtureLayer mixtures;
    private readonly Scratch<float> residual = new();
    private readonly Scratch<float> mixerOutput = new();
    private readonly Scratch<float> feedForwardOutput = new();
    private ResidualWork sum;

    /// <param name="spec">The model.</param>
    /// <param name="weights">Its weights.</param>
    /// <param name="team">Who computes.</param>
    /// <param name="kvFormat">How keys and values are cached.</param>
    /// <param name="snapshotBytes">Bytes for snapshots of recurrent state.</param>
    /// <param name="fast">Whether products are rounded for speed; attention then takes the fast path where there is one, over a cache of bfloat16 or integers.</param>
    /// <param name="packing">Who is still packing weights; null: nobody.</param>
    public CpuBackend(ModelSpec spec, ModelWeights weights, ComputeTeam team, KvFormat kvFormat, long snapshotBytes, bool fast = false, PackingQueue? packing = null)
    {
        this.packing = packing;
        this.spec = spec;
        this.weights = weights;
        this.team = team;
        this.snapshotBytes = snapshotBytes;
        recurrent = RecurrentLayout.Of(spec);
        var ropes = new List<RopeSpec>();
        ropeOfLayer = new int[spec.Layers.Count];
        for (int i = 0; i < ropeOfLayer.Length; i++)
        {
            RopeSpec? rope = spec.Layers[i].Mixer switch
            {
                AttentionSpec attention => attention.Positions as RopeSpec,
                LatentAttentionSpec latent => latent.Rope,
                _ => null,
            };
            ropeOfLayer[i] = rope is null ? -1 : ropes.IndexOf(rope);
            if (rope is not null && ropeOfLayer[i] < 0)
            {
                ropeOfLayer[i] = ropes.Count;
                ropes.Add(rope);
            }

            longRope ??= rope?.LongFrequencies is null ? null : rope;
        }

        rows = new StepRows([.. ropes]);
        context = new LayerContext(team, rows, spec.Width, fast);

        // Where attention has no fast path, half the bytes still make it faster, and rounded keys and values suit rounded products.
        this.kvFormat = kvFormat != KvFormat.Auto ? kvFormat : !fast ? KvFormat.F32 : context.Attention.PrefersIntegers ? KvFormat.I16 : KvFormat.Auto;
        mixtures = new MixtureLayer(spec.Width);
    }

    public int VocabularySize => spec.VocabularySize;

    public bool HasHead => weights.Head is not null;

    public int Width => spec.Width;

    public int ContextLength => spec.ContextLength;

    public long PendingBytes => packing?.PendingBytes ?? 0;

    /// <inheritdoc/>
    public long CacheBytesPerToken => CpuKvCache.BytesPerToken(spec, kvFormat);

    public KvCache CreateCache(int blockSize, int blockCount) => new CpuKvCache(spec, kvFormat, recurrent, snapshotBytes, blockSize, blockCount);

    public void Forward(StepBatch batch)
    {
        ArgumentNullException.ThrowIfNull(batch);
        Check(batch);
        if (batch.Tokens.Length == 0)
        {
            batch.PrepareLogits(spec.VocabularySize);
            batch.PrepareStates(spec.Width);
            return;
        }

        rows.Prepare(batch, longRope);
        Begin();

        // A step that failed may have left something.
        sum = default;
        float* x = residual.Take((long)rows.Count * spec.Width);
        var embed = new EmbedWork
        {
            Weights = weights, Spec = spec, Kernels = context.Kernels, Rows = rows, Output = x, Spare = context.PerWorker.Take((long)team.Size * spec.Width),
        };
        RowWork.Run(team, ref embed, rows.Count, 2L * spec.Width);
        for (int layer = 0; layer < weights.Layers.Length; layer++)
        {
            RunLayer(layer, x);
        }

        Flush();

        foreach (ref readonly Run run in rows.Runs)
        {
            run.State?.Advance(run.Count);
        }

        States(batch, x);
        Logits(batch, x);
    }

    public void Dispose()
    {
        rows.Dispose();
        context.Dispose();
        mixtures.Dispose();
        residual.Dispose();
        mixerOutput.Dispose();
        feedForwardOutput.Dispose();
    }

    private void Check(StepBatch batch)
    {
        if (batch.LogitsRows > 0 && !HasHead)
        {
            throw new ArgumentException("the model has no head, so it has hidden states but no logits", nameof(batch));
        }

        foreach (int token in batch.Tokens)
        {
            if ((uint)token >= (uint)spec.VocabularySize)
            {
                throw new ArgumentException($"token {token} is not in the vocabulary of {spec.VocabularySize}", nameof(batch));
            }
        }

        foreach (int position in batch.Positions)
        {
            if ((uint)position >= (uint)spec.ContextLength)
            {
                throw new ArgumentException($"position {position} is outside the context of {spec.ContextLength} tokens", nameof(batch));
            }
        }
    }

    private void Begin()
    {
        bool ticked = false;
        foreach (ref readonly Run run in rows.Runs)
        {
            if (run.State is { } state)
            {
                if (!ticked)
                {
                    state.Snapshots.Tick();
                    ticked = true;
                }

                state.Begin(run.Sequence, run.Count);
            }
        }
    }

    private void RunLayer(int layer, float* x)
    {
        LayerWeights own = weights.Layers[layer];
        LayerSpec layerSpec = own.Spec;
        bool parallel = layerSpec.Residual != ResidualForm.Sequential;
        float* mixed = mixerOutput.Take((long)rows.Count * spec.Width);
        if (own.Mixer is not null)
        {
            Enter(own.MixerNorm, x, Reader(own.Mixer));
            switch (own.Mixer)
            {
                case AttentionWeights attention:
                    AttentionLayer.Run(context, (AttentionSpec)layerSpec.Mixer!, attention, ropeOfLayer[layer], layer, mixed);
                    break;
                case LatentAttentionWeights latent:
                    LatentAttentionLayer.Run(context, (LatentAttentionSpec)layerSpec.Mixer!, latent, ropeOfLayer[layer], layer, mixed);
                    break;
                case GatedDeltaNetWeights net:
                    GatedDeltaNetLayer.Run(context, (GatedDeltaNetSpec)layerSpec.Mixer!, net, layer, mixed);
                    break;
            }

            if (!parallel)
            {
                Add(own.MixerPostNorm, mixed, x, layerSpec.ResidualScale);
            }
        }

        if (own.FeedForward is not null)
        {
            // With one norm for both parts, the mixer's input is still in place.
            if (layerSpec.Residual != ResidualForm.Parallel)
            {
                Enter(own.FeedForwardNorm, x, own.FeedForward is DenseWeights entered ? (entered.Gate ?? entered.Up).Weight : null);
            }

            float* fed = feedForwardOutput.Take((long)rows.Count * spec.Width);
            switch (own.FeedForward)
            {
                case DenseWeights dense:
                    FeedForwardLayer.Run(context, context.Input, dense, ((DenseSpec)layerSpec.FeedForward!).Activation, 0, 0, fed);
                    break;
                case MixtureWeights mixture:
                    mixtures.Run(context, (MixtureSpec)layerSpec.FeedForward!, mixture, fed);
                    break;
            }

            if (parallel)
            {
                Add(own.MixerPostNorm, mixed, x, layerSpec.ResidualScale);
            }

            Add(own.FeedForwardPostNorm, fed, x, layerSpec.ResidualScale);
        }
    }

    /// <summary>Adds what is still to be added to the residual stream, and norms it into the input of a layer's part: both in one pass, row by row.</summary>
    /// <param name="norm">The norm, or null.</param>
    /// <param name="x">The residual stream.</param>
    /// <param name="reader">The matrix that reads the input first, or null.</param>
    private void Enter(NormWeights? norm, float* x, WeightMatrix? reader)
    {
        context.Input.Reset(rows.Count, spec.Width);
        var work = new NormWork { Sum = sum, Norm = norm, Kernels = context.Kernels, Input = x, Width = spec.Width, Output = context.Input };
        RowWork.Run(team, ref work, context.Input, reader, 4L * spec.Width);
        sum = default;
    }

    /// <summary>Notes that a part is to be added to the residual stream, which <see cref="Enter"/> does, or <see cref="Flush"/>.</summary>
    private void Add(NormWeights? norm, float* part, float* x, float scale)
    {
        Flush();
        sum = new ResidualWork { Norm = norm, Kernels = context.Kernels, Part = part, Residual = x, Width = spec.Width, Scale = scale };
    }

    private void Flush()
    {
        if (!sum.IsNothing)
        {
            RowWork.Run(team, ref sum, rows.Count, 2L * spec.Width);
            sum = default;
        }
    }

    /// <summary>The matrix that reads a mixer's input first.</summary>
    private static WeightMatrix Reader(MixerWeights mixer) => mixer switch
    {
        AttentionWeights attention => attention.Query.Weight,
        LatentAttentionWeights latent => latent.QueryDown.Weight,
        _ => ((GatedDeltaNetWeights)mixer).QueryKeyValue,
    };

    private void States(StepBatch batch, float* x)
    {
        var work = new StateWork
        {
            Norm = weights.FinalNorm, Kernels = context.Kernels, Input = x, Select = rows.StateRows, Width = spec.Width, Output = batch.PrepareStates(spec.Width),
        };
        RowWork.Run(team, ref work, batch.StateRows, 2L * spec.Width);
    }

    private void Logits(StepBatch batch, float* x)
    {
        float* logits = batch.PrepareLogits(spec.VocabularySize);
        int wanted = batch.LogitsRows;
        if (wanted == 0)
        {
            return;
        }

        context.Input.Reset(wanted, spec.Width);
        var norm = new NormWork { Norm = weights.FinalNorm, Kernels = context.Kernels, Input = x, Width = spec.Width, Output = context.Input, Select = rows.LogitRows };
        RowWork.Run(team, ref norm, wanted, 2L * spec.Width);
        float* maxima = batch.PrepareMaxima();
        bool isFinal = weights.HeadBias is null && spec.LogitScale == 1 && spec.LogitSoftCap <= 0;
        WeightMatrix.MultiplyAll([new MatrixOutput(weights.Head!, logits, spec.VocabularySize) { Maxima = isFinal ? maxima : null }], context.Input, team);
        if (!isFinal)
        {
            var work = new LogitsWork
            {
                Kernels = context.Kernels,
                Logits = logits,
                Maxima = maxima,
                Vocabulary = spec.VocabularySize,
                Bias = weights.HeadBias,
                Scale = spec.LogitScale,
                Cap = spec.LogitSoftCap,
            };
            team.Run(ref work, work.Pieces * wanted);
        }
    }
}
