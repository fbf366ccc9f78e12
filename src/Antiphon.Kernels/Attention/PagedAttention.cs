using Antiphon.Kernels.Integers;
using Antiphon.Kernels.Packed;
using Antiphon.Kernels.Tiled;

namespace Antiphon.Kernels;

/// <summary>
/// Attention of query rows over a paged cache: grouped-query, windowed, soft-capped, with sinks, with explicit visibility, with values shorter than keys.
/// </summary>
/// <remarks>
/// The order of every sum is fixed by absolute cache rows: scores in sixteen lanes; an online softmax over tiles of 32 rows; fresh sums for each
/// segment of 512 rows; segments merged in order. So an output depends on its query and on what it sees alone: not on the batch, the size of prompt
/// chunks, the number of workers, or the tier (which all give the same bits). Cached values must be finite.
/// The fast path rounds queries, keys, values and weights to bfloat16 and has an order of its own, with the same independence of everything else.
/// So has attention over a cache of integers, whose products are exact sums of integers: <see cref="IntegerArithmetic"/> defines its bits, the same on every tier.
/// One instance serves one caller at a time; it keeps the memory that it needs between calls.
/// </remarks>
public sealed unsafe class PagedAttention : IDisposable
{
    /// <summary>Greatest magnitude of a cached key's integers.</summary>
    public const int KeyLimit = IntegerArithmetic.KeyLimit;

    /// <summary>Greatest magnitude of a cached value's integers.</summary>
    public const int ValueLimit = IntegerArithmetic.ValueLimit;

    private readonly KernelTier tier;
    private readonly TiledAttention? tiled;
    private readonly IntegerShelf? integers;
    private NativeBuffer<AttentionItem> items = new(16);
    private NativeBuffer<float> partials = new(0);

    /// <summary>Attention with the kernels of a tier; null: <see cref="CpuFeatures.DefaultTier"/>.</summary>
    /// <param name="tier">The tier.</param>
    /// <param name="fast">Whether to take the fast path where there is one: on AMX, for attention without soft-cap over keys and values of at most 256 numbers.</param>
    /// <exception cref="ArgumentException">This machine does not have the tier.</exception>
    public PagedAttention(KernelTier? tier = null, bool fast = false)
        : this(tier, fast, null)
    {
    }

    /// <summary>As the public one, with generated code for a choice of instructions, which the processor has.</summary>
    internal PagedAttention(KernelTier? tier, bool fast, IntegerForm? form)
    {
        this.tier = CpuFeatures.Resolve(tier);
        if (fast)
        {
            TiledAttention.TryCreate(tier, out tiled, out _);
        }

        integers = IntegerShelf.Create(this.tier, form);
        PrefersIntegers = fast && tiled is null && integers is not null;
    }

    /// <summary>Whether there is a fast path on this machine and it was asked for.</summary>
    public bool HasFastPath => tiled is not null;

    /// <summary>Whether the fast path was asked for and a cache of integers makes it: on AVX2 and AVX-512, where there is no other and code can be generated.</summary>
    public bool PrefersIntegers { get; }

    /// <summary>Whether an attention can be computed over a cache of integers: without soft-cap, over keys and values of at most 256 numbers.</summary>
    public static bool SupportsIntegers(int keySize, int valueSize, float softCap) => IntegerArithmetic.Supports(keySize, valueSize, softCap);

    /// <summary>The generated kernels of attention of a kind over the cache that the fast path prefers, made now rather than when it is first computed; none where there are none.</summary>
    public IReadOnlyList<GeneratedKernel> Generated(in AttentionShape shape) =>
        tiled is not null ? [.. tiled.Find(shape, TensorFormat.BF16, TensorFormat.BF16).Generated] : integers is not null ? [.. integers.Find(shape).Generated] : [];

    /// <summary>Computes the outputs of all slices.</summary>
    /// <param name="shape">The layer's attention.</param>
    /// <param name="keys">The keys' cache.</param>
    /// <param name="values">The values' cache.</param>
    /// <param name="blockSize">Rows in a cache block.</param>
    /// <param name="slices">The queries.</param>
    /// <param name="sinks">A logit for each query head that takes part in the softmax without a value, or null.</param>
    /// <param name="team">Who computes.</param>
    /// <exception cref="ArgumentException">The shape contradicts itself, or the cache's format is none of F32, F16, BF16 and I16, or I16 does not support it.</exception>
    public void Run(
        in AttentionShape shape, in PagedRows keys, in PagedRows values, int blockSize, ReadOnlySpan<AttentionSlice> slices, float* sinks, ComputeTeam team)
    {
        Check(shape, keys, values, blockSize);
        bool whole = keys.Format == TensorFormat.I16;
        IntegerKernels? kernels = whole ? integers?.Find(shape) : null;
        if (!whole && tiled is not null && TiledAttention.Supports(shape, keys, values))
        {
            tiled.Run(shape, keys, values, blockSize, slices, sinks, team);
            return;
        }

        // Large items read the cache less often, but there must be enough of them to go round, and their states should stay in the second-level cache
        // (of integers, what a group of queries has takes half as much, and may come from further away, once in a segment).
        int group = shape.QueryHeads / shape.KeyValueHeads;
        int most = kernels is null ? AttentionTiles.MostQueries : IntegerArithmetic.MostQueries;
        while (most > AttentionTiles.LeastMost && (AttentionTiles.ItemFloats(shape, most) / (kernels is null ? 1 : 4) > AttentionTiles.MostItemFloats || Items(slices, shape, most) < 4L * team.Size))
        {
            most /= 2;
        }

        int heads = Math.Min(group, most);
        int tileRows = Math.Max(1, most / heads);

        // Items over whole contexts if there are enough of them; else long contexts are split into segments.
        bool split = team.Size > 1 && Items(slices, shape, most) < 4L * team.Size;
        int count = 0;
        long partialFloats = 0;
        long stateFloats = AttentionTiles.StateFloats(shape.ValueSize);
        for (int s = 0; s < slices.Length; s++)
        {
            ref readonly AttentionSlice slice = ref slices[s];

            // The last rows see most: the longest items come first, and short ones fill the gaps at the end.
            for (int row = (slice.Rows - 1) / tileRows * tileRows; row >= 0; row -= tileRows)
            {
                int rows = Math.Min(tileRows, slice.Rows - row);
                int end = slice.Visible is null ? slice.FirstRow + row + rows : slice.FirstRow + slice.Rows;
                int segments = (int)(((long)end + AttentionTiles.SegmentRows - 1) / AttentionTiles.SegmentRows);
                for (int head = 0; head < shape.QueryHeads; head += heads)
                {
                    // A group of heads that is no multiple ends where the next key head begins.
                    int left = group - (head % group);
                    int taken = Math.Min(heads, left);
                    bool parts = split && segments > 1;
                    for (int segment = 0; segment < segments; segment = parts ? segment + 1 : segments)
                    {
                        AttentionItem item = new()
                        {
                            Slice = s,
                            Row = row,
                            Rows = rows,
                            Head = head,
                            Heads = taken,
                            Segment = segment,
                            SegmentEnd = parts ? segment + 1 : segments,
                            Partial = parts ? partialFloats : -1,
                        };
                        Append(ref count, item);
                        partialFloats += parts ? stateFloats * rows * taken : 0;
                    }

                    head -= heads - taken;
                }
            }
        }

        if (partials.Length < partialFloats)
        {
            partials.Dispose();
            partials = new NativeBuffer<float>(partialFloats + (partialFloats / 2)); // grows with the context
        }

        fixed (AttentionSlice* first = slices)
        {
            AttentionProblem problem = new()
            {
                Shape = shape,
                Keys = keys,
                Values = values,
                BlockSize = blockSize,
                Slices = first,
                Sinks = sinks,
                Items = items.Pointer,
                ItemCount = count,
                Partials = partials.Pointer,
            };
            switch (tier)
            {
                case KernelTier.Portable:
                    Run<LanesPortable>(problem, kernels, team);
                    break;
                case KernelTier.Avx2:
                    Run<Lanes256>(problem, kernels, team);
                    break;
                default:
                    Run<Lanes512>(problem, kernels, team);
                    break;
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        tiled?.Dispose();
        integers?.Dispose();
        items.Dispose();
        partials.Dispose();
    }

    private static void Run<T>(in AttentionProblem problem, IntegerKernels? kernels, ComputeTeam team)
        where T : unmanaged, ILanes<T>
    {
        if (problem.Keys.Format == TensorFormat.I16)
        {
            IntegerWork<T> work = new(problem, kernels, team);
            team.Run(ref work, problem.ItemCount);
        }
        else
        {
            AttentionWork<T> work = new(problem, team);
            team.Run(ref work, problem.ItemCount);
        }

        AttentionMerge<T> merge = new(problem, team);
        team.Run(ref merge, merge.Chunks);
    }

    /// <summary>How many items of at most so many queries over whole contexts there are.</summary>
    private static long Items(ReadOnlySpan<AttentionSlice> slices, in AttentionShape shape, int most)
    {
        int group = shape.QueryHeads / shape.KeyValueHeads;
        int heads = Math.Min(group, most);
        int tileRows = Math.Max(1, most / heads);
        long items = 0;
        foreach (ref readonly AttentionSlice slice in slices)
        {
            items += (slice.Rows + tileRows - 1L) / tileRows * shape.KeyValueHeads * ((group + heads - 1) / heads);
        }

        return items;
    }

    private static void Check(in AttentionShape shape, in PagedRows keys, in PagedRows values, int blockSize)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(blockSize, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(shape.Window);
        if (shape.KeyValueHeads < 1 || shape.QueryHeads < 1 || shape.QueryHeads % shape.KeyValueHeads != 0 || shape.KeySize < 1 || shape.ValueSize < 1)
        {
            throw new ArgumentException(
                $"attention of {shape.QueryHeads} query heads on {shape.KeyValueHeads} key heads, sizes {shape.KeySize} and {shape.ValueSize}", nameof(shape));
        }

        if (keys.Format == TensorFormat.I16
            ? values.Format != TensorFormat.I16 || keys.Data == values.Data || !IntegerArithmetic.Supports(shape.KeySize, shape.ValueSize, shape.SoftCap)
            : !IsPlain(keys.Format) || !IsPlain(values.Format))
        {
            throw new ArgumentException(
                $"a cache of {keys.Format} keys and {values.Format} values; only F32, F16 and BF16 can be read, and I16 without soft-cap, for both, at sizes to {IntegerArithmetic.LargestSize}",
                nameof(keys));
        }

        static bool IsPlain(TensorFormat format) => format is TensorFormat.F32 or TensorFormat.F16 or TensorFormat.BF16;
    }

    private void Append(ref int count, in AttentionItem item)
    {
        if (count == items.Length)
        {
            NativeBuffer<AttentionItem> larger = new(2 * items.Length);
            items.Span(0, count).CopyTo(larger.Span(0, count));
            items.Dispose();
            items = larger;
        }

        items.Pointer[count++] = item;
    }
}
