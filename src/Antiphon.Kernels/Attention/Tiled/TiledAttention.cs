using System.Diagnostics.CodeAnalysis;
using Antiphon.Kernels.Jit;

namespace Antiphon.Kernels.Tiled;

/// <summary>
/// The fast path of attention: bfloat16 products in AMX tiles, exponentials as a polynomial of degree 3, by generated code. <see cref="TiledArithmetic"/> defines
/// every bit. An output depends on its query and on what it sees alone: not on the batch, the size of prompt chunks, or the number of workers.
/// </summary>
internal sealed unsafe class TiledAttention : IDisposable
{
    // Values are turned into columns once for so many queries; a few percent of the work. More would not fit the second-level cache.
    private const int MostQueries = 1024;
    private const int FewestQueries = 128;
    private const int LargestSize = 256;

    private readonly List<TiledKernels> kernels = [];
    private NativeBuffer<AttentionItem> items = new(64);
    private NativeBuffer<byte> partials = new(1 << 16);

    private TiledAttention()
    {
    }

    /// <summary>Makes one, or says why this process cannot.</summary>
    /// <param name="tier">The kernels' tier; null: <see cref="CpuFeatures.DefaultTier"/>.</param>
    /// <param name="attention">The attention.</param>
    /// <param name="reason">What is missing.</param>
    public static bool TryCreate(KernelTier? tier, [NotNullWhen(true)] out TiledAttention? attention, [NotNullWhen(false)] out string? reason)
    {
        attention = null;
        reason = null;
        if (CpuFeatures.Resolve(tier) != KernelTier.Amx)
        {
            reason = "tiled attention needs AMX tiles";
            return false;
        }

        try
        {
            AmxTiles.RequestPermission();
            RowKernels.GenerateColumns(32).Dispose();
            attention = new TiledAttention();
            return true;
        }
        catch (CodeGenerationException e)
        {
            reason = e.Message;
            return false;
        }
    }

    /// <summary>Whether this path can take an attention: no soft-cap, no values that are parts of keys, rows of at most 256 values.</summary>
    public static bool Supports(in AttentionShape shape, in PagedRows keys, in PagedRows values) =>
        shape.SoftCap == 0 && shape.Scale > 0 && shape.KeySize <= LargestSize && shape.ValueSize <= LargestSize && keys.Data != values.Data;

    /// <summary>Computes the outputs of all slices; see <see cref="PagedAttention.Run"/>, which has checked the arguments.</summary>
    public void Run(in AttentionShape shape, in PagedRows keys, in PagedRows values, int blockSize, ReadOnlySpan<AttentionSlice> slices, float* sinks, ComputeTeam team)
    {
        TiledKernels own = Find(shape, keys.Format, values.Format);
        int stateBytes = TiledSizes.StateBytes(shape.ValueSize);
        (int rows, bool split) = Plan(shape, slices, team);
        (int count, long partialBytes) = Cut(shape, slices, rows, split, stateBytes);
        if (partials.Length < partialBytes)
        {
            partials.Dispose();
            partials = new NativeBuffer<byte>(2 * partialBytes); // grows with the context
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
                Partials = (float*)partials.Pointer,
            };
            TiledWork work = new(problem, own, team, merge: false);
            team.Run(ref work, count);
            if (partialBytes > 0)
            {
                TiledWork merge = new(problem, own, team, merge: true);
                team.Run(ref merge, count);
            }
        }
    }

    /// <summary>The kernels for the sizes of an attention and the formats of its cache, made on first use.</summary>
    public TiledKernels Find(in AttentionShape shape, TensorFormat keys, TensorFormat values)
    {
        foreach (TiledKernels own in kernels)
        {
            if (own.KeySize == shape.KeySize && own.ValueSize == shape.ValueSize && own.KeyFormat == keys && own.ValueFormat == values)
            {
                return own;
            }
        }

        kernels.Add(new TiledKernels(shape, keys, values));
        return kernels[^1];
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        items.Dispose();
        partials.Dispose();
        foreach (TiledKernels own in kernels)
        {
            own.Dispose();
        }
    }

    /// <summary>Rows of an item, and whether long contexts are split into segments.</summary>
    private static (int Rows, bool Split) Plan(in AttentionShape shape, ReadOnlySpan<AttentionSlice> slices, ComputeTeam team)
    {
        int group = shape.QueryHeads / shape.KeyValueHeads;
        int rows = Math.Max(1, MostQueries / group);
        while (true)
        {
            long whole = 0;
            foreach (ref readonly AttentionSlice slice in slices)
            {
                whole += (slice.Rows + rows - 1L) / rows * shape.KeyValueHeads;
            }

            if (team.Size == 1 || whole >= 4L * team.Size)
            {
                return (rows, false);
            }

            if (rows * group <= FewestQueries)
            {
                return (rows, true);
            }

            rows = Math.Max(1, rows / 2);
        }
    }

    private (int Count, long PartialBytes) Cut(in AttentionShape shape, ReadOnlySpan<AttentionSlice> slices, int itemRows, bool split, int stateBytes)
    {
        int group = shape.QueryHeads / shape.KeyValueHeads;
        int count = 0;
        long partialBytes = 0;
        for (int s = 0; s < slices.Length; s++)
        {
            ref readonly AttentionSlice slice = ref slices[s];

            // The last rows see most: they come first, so that no worker is left with a long item at the end.
            for (int row = (slice.Rows - 1) / itemRows * itemRows; row >= 0; row -= itemRows)
            {
                int rows = Math.Min(itemRows, slice.Rows - row);
                int end = slice.Visible is null ? slice.FirstRow + row + rows : slice.FirstRow + slice.Rows;
                int segments = (int)(((long)end + TiledSizes.SegmentKeys - 1) / TiledSizes.SegmentKeys);
                bool parts = split && segments > 1;
                for (int head = 0; head < shape.QueryHeads; head += group)
                {
                    for (int segment = 0; segment < segments; segment = parts ? segment + 1 : segments)
                    {
                        Append(ref count, new AttentionItem
                        {
                            Slice = s,
                            Row = row,
                            Rows = rows,
                            Head = head,
                            Heads = group,
                            Segment = segment,
                            SegmentEnd = parts ? segment + 1 : segments,
                            Partial = parts ? partialBytes : -1,
                        });
                        partialBytes += parts ? (((long)rows * group) + TiledSizes.Columns - 1) / TiledSizes.Columns * stateBytes : 0;
                    }
                }
            }
        }

        return (count, partialBytes);
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
