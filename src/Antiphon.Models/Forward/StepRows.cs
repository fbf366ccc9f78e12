using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>Rows of a step that belong to one sequence: first those that its recurrent state must replay, then the slice's own.</summary>
internal struct Run
{
    public Sequence Sequence;
    public SliceVisibility? Visibility;
    public CpuRecurrentState? State;

    /// <summary>First row of the run in the step.</summary>
    public int Start;

    /// <summary>Number of rows.</summary>
    public int Count;

    /// <summary>How many of them are replayed.</summary>
    public int Replayed;

    /// <summary>The cache row of the first.</summary>
    public int FirstRow;

    /// <summary>Where the run's block table begins.</summary>
    public int Table;

    /// <summary>Whether the sequence is planned past the length for which short frequencies hold.</summary>
    public bool IsLong;
}

/// <summary>What one forward pass computes, laid out for the layers: a row for each token, with its place in its sequence.</summary>
internal sealed unsafe class StepRows : IDisposable
{
    private readonly Scratch<int> tokens = new();
    private readonly Scratch<int> positions = new();
    private readonly Scratch<int> runOfRow = new();
    private readonly Scratch<int> tables = new();
    private readonly Scratch<int> logitRows = new();
    private readonly Scratch<int> stateRows = new();
    private readonly Scratch<float> angles = new();
    private readonly RopeSpec[] ropes;
    private readonly float*[] cosines;
    private readonly float*[] sines;
    private readonly Scratch<bool> visible = new();
    private Run[] runs = [];
    private AttentionSlice[] attention = [];
    private int attentionCount;

    public StepRows(RopeSpec[] ropes)
    {
        this.ropes = ropes;
        cosines = new float*[ropes.Length];
        sines = new float*[ropes.Length];
    }

    public CpuKvCache Cache { get; private set; } = null!;

    /// <summary>Number of rows.</summary>
    public int Count { get; private set; }

    public ReadOnlySpan<Run> Runs => runs.AsSpan(0, RunCount);

    public int RunCount { get; private set; }

    public int* Tokens { get; private set; }

    public int* Positions { get; private set; }

    /// <summary>The run that each row belongs to.</summary>
    public int* RunOfRow { get; private set; }

    /// <summary>The block tables of all runs.</summary>
    public int* Tables { get; private set; }

    /// <summary>The step's row of each row of logits.</summary>
    public int* LogitRows { get; private set; }

    /// <summary>The step's row of each hidden state that is wanted.</summary>
    public int* StateRows { get; private set; }

    public ref readonly Run RunOf(int row) => ref runs[RunOfRow[row]];

    public float* Cosines(int rope, int row) => cosines[rope] + ((long)row * ropes[rope].Frequencies.Count);

    public float* Sines(int rope, int row) => sines[rope] + ((long)row * ropes[rope].Frequencies.Count);

    /// <summary>The cache row of a row.</summary>
    public int CacheRow(int row)
    {
        ref readonly Run run = ref RunOf(row);
        return run.FirstRow + row - run.Start;
    }

    /// <summary>Lays out a batch.</summary>
    public void Prepare(StepBatch batch, RopeSpec? longRope)
    {
        Lay(batch, longRope);
        FillRows(batch);
        FillAngles();
        FillAttention();
    }

    /// <summary>The step's slices for one layer's attention.</summary>
    /// <param name="queries">Queries of all rows.</param>
    /// <param name="queryStride">Floats between two rows of queries.</param>
    /// <param name="outputs">Receives the outputs of all rows.</param>
    /// <param name="outputStride">Floats between two rows of outputs.</param>
    public ReadOnlySpan<AttentionSlice> AttentionSlices(float* queries, int queryStride, float* outputs, int outputStride)
    {
        long row = 0;
        for (int i = 0; i < attentionCount; i++)
        {
            ref AttentionSlice slice = ref attention[i];
            slice.Queries = queries + (row * queryStride);
            slice.QueryStride = queryStride;
            slice.Outputs = outputs + (row * outputStride);
            slice.OutputStride = outputStride;
            row += slice.Rows;
        }

        return attention.AsSpan(0, attentionCount);
    }

    public void Dispose()
    {
        tokens.Dispose();
        positions.Dispose();
        runOfRow.Dispose();
        tables.Dispose();
        logitRows.Dispose();
        stateRows.Dispose();
        angles.Dispose();
        visible.Dispose();
    }

    private void Lay(StepBatch batch, RopeSpec? longRope)
    {
        ReadOnlySpan<Slice> slices = batch.Slices;
        if (runs.Length < slices.Length)
        {
            runs = new Run[Math.Max(slices.Length, 2 * runs.Length)];
        }

        Count = 0;
        RunCount = slices.Length;
        int blocks = 0;
        for (int i = 0; i < slices.Length; i++)
        {
            ref readonly Slice slice = ref slices[i];
            if (slice.Sequence.Cache is not CpuKvCache cache || (i > 0 && cache != Cache))
            {
                throw new ArgumentException("the sequences of a batch must be in one cache of this backend", nameof(batch));
            }

            Cache = cache;
            var state = slice.Sequence.State as CpuRecurrentState;
            for (int j = 0; state is not null && j < i; j++)
            {
                if (slices[j].Sequence == slice.Sequence)
                {
                    throw new ArgumentException("a sequence with recurrent state can have one slice in a batch", nameof(batch));
                }
            }

            if (state is not null && slice.Visibility is not null)
            {
                throw new ArgumentException("a model with recurrent state sees its tokens one after the other: it cannot take a visibility of its own", nameof(batch));
            }

            int replayed = state is null ? 0 : slice.FirstRow - state.Length;
            runs[i] = new Run
            {
                Sequence = slice.Sequence,
                Visibility = slice.Visibility,
                State = state,
                Start = Count,
                Count = replayed + slice.Count,
                Replayed = replayed,
                FirstRow = slice.FirstRow - replayed,
                Table = blocks,
                IsLong = longRope is not null && cache.IsLong(longRope, slice.Sequence.PlannedLength),
            };
            Count += replayed + slice.Count;
            blocks += slice.Sequence.Blocks.Length;
        }

        Tokens = tokens.Take(Count);
        Positions = positions.Take(Count);
        RunOfRow = runOfRow.Take(Count);
        Tables = tables.Take(blocks);
        LogitRows = logitRows.Take(batch.LogitsRows);
        StateRows = stateRows.Take(batch.StateRows);
    }

    private void FillRows(StepBatch batch)
    {
        ReadOnlySpan<Slice> slices = batch.Slices;
        for (int i = 0; i < slices.Length; i++)
        {
            ref readonly Slice slice = ref slices[i];
            ref readonly Run run = ref runs[i];
            slice.Sequence.Blocks.CopyTo(new Span<int>(Tables + run.Table, slice.Sequence.Blocks.Length));
            ReadOnlySpan<int> replayed = slice.Sequence.Tokens.Slice(run.FirstRow, run.Replayed);
            for (int j = 0; j < run.Count; j++)
            {
                int own = slice.Start + j - run.Replayed;
                Tokens[run.Start + j] = j < run.Replayed ? replayed[j] : batch.Tokens[own];
                Positions[run.Start + j] = j < run.Replayed ? run.FirstRow + j : batch.Positions[own];
                RunOfRow[run.Start + j] = i;
            }

            int wanted = slice.Wanted switch { LogitsWanted.None => 0, LogitsWanted.Last => 1, _ => slice.Count };
            for (int j = 0; j < wanted; j++)
            {
                LogitRows[slice.FirstLogits + j] = run.Start + run.Count - wanted + j;
            }

            for (int j = 0; j < slice.States; j++)
            {
                StateRows[slice.FirstState + j] = run.Start + run.Replayed + slice.StatesFrom + j;
            }
        }
    }

    /// <summary>One slice for each run. Replayed rows and a visibility of its own exclude each other.</summary>
    private void FillAttention()
    {
        if (attention.Length < RunCount)
        {
            attention = new AttentionSlice[2 * RunCount];
        }

        long masks = 0;
        foreach (ref readonly Run run in Runs)
        {
            masks += run.Visibility?.Visible.Length ?? 0;
        }

        bool* mask = visible.Take(masks);
        attentionCount = 0;
        foreach (ref readonly Run run in Runs)
        {
            ReadOnlySpan<bool> own = run.Visibility is null ? [] : run.Visibility.Visible;
            attention[attentionCount++] = new AttentionSlice
            {
                Rows = run.Count,
                FirstRow = run.FirstRow,
                Blocks = Tables + run.Table,
                Visible = run.Visibility is null ? null : mask,
                Positions = run.Visibility is null ? null : Positions + run.Start,
            };
            own.CopyTo(new Span<bool>(mask, own.Length));
            mask += own.Length;
        }
    }

    private void FillAngles()
    {
        long total = 0;
        foreach (RopeSpec rope in ropes)
        {
            total += 2L * Count * rope.Frequencies.Count;
        }

        float* next = angles.Take(total);
        for (int i = 0; i < ropes.Length; i++)
        {
            RopeSpec rope = ropes[i];
            int pairs = rope.Frequencies.Count;
            cosines[i] = next;
            sines[i] = next + ((long)Count * pairs);
            next += 2L * Count * pairs;
            for (int row = 0; row < Count; row++)
            {
                IReadOnlyList<float> frequencies = rope.LongFrequencies is not null && RunOf(row).IsLong ? rope.LongFrequencies : rope.Frequencies;
                for (int pair = 0; pair < pairs; pair++)
                {
                    (float sine, float cosine) = MathF.SinCos(Positions[row] * frequencies[pair]);
                    cosines[i][((long)row * pairs) + pair] = cosine * rope.Magnitude;
                    sines[i][((long)row * pairs) + pair] = sine * rope.Magnitude;
                }
            }
        }
    }
}
