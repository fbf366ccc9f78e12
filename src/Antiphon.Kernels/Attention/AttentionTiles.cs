using System.Runtime.CompilerServices;

namespace Antiphon.Kernels;

/// <summary>Sizes that fix the order of sums, and with it every bit of an output.</summary>
internal static class AttentionTiles
{
    /// <summary>Cache rows in a tile of the online softmax.</summary>
    public const int TileRows = 32;

    /// <summary>Cache rows with sums of their own.</summary>
    public const int SegmentRows = 512;

    /// <summary>Most queries (rows times heads) that an item takes, so that many share what is read from the cache; how many has no influence on results.</summary>
    public const int MostQueries = 192;

    /// <summary>What <see cref="MostQueries"/> is halved down to where there is little to do.</summary>
    public const int LeastMost = 24;

    /// <summary>Floats of an item's queries and states that fit a second-level cache.</summary>
    public const int MostItemFloats = 128 << 10;

    /// <summary>Fewest queries that are worth transposing; either way gives the same bits.</summary>
    public const int ManyQueries = 8;

    /// <summary>Floats that an item of so many queries keeps at hand.</summary>
    public static long ItemFloats(in AttentionShape shape, int queries) => (long)queries * (shape.KeySize + (2 * shape.ValueSize) + TileRows);

    /// <summary>Floats of a query's state: greatest score, sum of exponentials, padding to a cache line, weighted sum of values.</summary>
    public static int StateFloats(int valueSize) => 16 + ((valueSize + 15) & ~15);
}

/// <summary>The inner loops of attention.</summary>
internal static unsafe class AttentionTiles<T>
    where T : unmanaged, ILanes<T>
{
    private const int TileRows = AttentionTiles.TileRows;

    /// <summary>A state that has seen nothing.</summary>
    public static void Clear(float* state, int stateFloats)
    {
        new Span<float>(state, stateFloats).Clear();
        state[0] = float.NegativeInfinity;
    }

    /// <summary>scores = cap * tanh(scores / cap).</summary>
    /// <param name="scores">Scores.</param>
    /// <param name="count">Number of scores; a multiple of 16.</param>
    /// <param name="cap">The cap, above zero.</param>
    public static void SoftCap(float* scores, int count, float cap)
    {
        T caps = T.Broadcast(cap);
        for (int i = 0; i < count; i += 16)
        {
            (LaneMath<T>.Tanh(T.Load(scores + i) / caps) * caps).Store(scores + i);
        }
    }

    /// <summary>Takes a tile of scores into a query's state and turns them into weights.</summary>
    /// <param name="scores">32 scores, minus infinity where nothing is visible; receives the weights.</param>
    /// <param name="state">The query's state.</param>
    /// <param name="size">Floats of the weighted sum; a multiple of 16.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Weigh(float* scores, float* state, int size)
    {
        T low = T.Load(scores);
        T high = T.Load(scores + 16);
        float greatest = T.Max(low, high).Maximum();
        greatest = greatest > state[0] ? greatest : state[0];
        if (float.IsNegativeInfinity(greatest))
        {
            T.Zero.Store(scores);
            T.Zero.Store(scores + 16);
            return;
        }

        T shift = T.Broadcast(greatest);
        low = LaneMath<T>.Exp(low - shift);
        high = LaneMath<T>.Exp(high - shift);
        low.Store(scores);
        high.Store(scores + 16);

        // Most tiles do not raise the maximum; a factor of one changes nothing.
        float factor = 1f;
        if (greatest != state[0])
        {
            factor = Exp(state[0] - greatest);
            T factors = T.Broadcast(factor);
            for (int i = 0; i < size; i += 16)
            {
                (T.Load(state + 16 + i) * factors).Store(state + 16 + i);
            }
        }

        state[1] = MathF.FusedMultiplyAdd(state[1], factor, (low + high).Sum());
        state[0] = greatest;
    }

    /// <summary>Adds a later segment's state to that of the segments before it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Merge(float* total, float* segment, int stateFloats)
    {
        if (float.IsNegativeInfinity(segment[0]))
        {
            return;
        }

        float greatest = segment[0] > total[0] ? segment[0] : total[0];
        float totalFactor = Exp(total[0] - greatest);
        float segmentFactor = Exp(segment[0] - greatest);
        total[1] = MathF.FusedMultiplyAdd(segment[1], segmentFactor, total[1] * totalFactor);
        total[0] = greatest;
        T first = T.Broadcast(totalFactor);
        T second = T.Broadcast(segmentFactor);
        for (int i = 16; i < stateFloats; i += 16)
        {
            T.Fma(T.Load(segment + i), second, T.Load(total + i) * first).Store(total + i);
        }
    }

    /// <summary>Writes the output of an item's query; of an item of one segment the state itself, for <see cref="AttentionMerge{T}"/>.</summary>
    public static void Finish(in AttentionProblem problem, in AttentionItem item, int query, float* state, int stateFloats)
    {
        if (item.Partial >= 0)
        {
            new Span<float>(state, stateFloats).CopyTo(new Span<float>(problem.Partials + item.Partial + ((long)query * stateFloats), stateFloats));
            return;
        }

        float* sink = problem.Sinks is null ? null : problem.Sinks + item.Head + (query % item.Heads);
        Finish(state, sink, problem.Output(item, query), problem.Shape.ValueSize);
    }

    /// <summary>Turns a state into an output; a query that saw nothing gets zeros.</summary>
    /// <param name="total">The state over all segments.</param>
    /// <param name="sink">A logit without a value, or null.</param>
    /// <param name="output">Receives <paramref name="size"/> values.</param>
    /// <param name="size">Value size.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Finish(float* total, float* sink, float* output, int size)
    {
        float sum = total[1];
        float factor = 1f;
        if (sink is not null)
        {
            float greatest = *sink > total[0] ? *sink : total[0];
            factor = Exp(total[0] - greatest);
            sum = MathF.FusedMultiplyAdd(sum, factor, Exp(*sink - greatest));
        }

        if (sum == 0)
        {
            new Span<float>(output, size).Clear();
            return;
        }

        T scale = T.Broadcast(factor / sum);
        float* rest = stackalloc float[16];
        for (int i = 0; i < size; i += 16)
        {
            T value = T.Load(total + 16 + i) * scale;
            if (i + 16 <= size)
            {
                value.Store(output + i);
            }
            else
            {
                value.Store(rest);
                new ReadOnlySpan<float>(rest, size - i).CopyTo(new Span<float>(output + i, size - i));
            }
        }
    }

    /// <summary>e to the power of one number.</summary>
    public static float Exp(float value)
    {
        // Of most states the greater is that before or that behind, and at first there was none: what the polynomial gives then is known.
        if (value == 0)
        {
            return 1;
        }

        if (float.IsNegativeInfinity(value))
        {
            return 0;
        }

        float* lanes = stackalloc float[16];
        LaneMath<T>.Exp(T.Broadcast(value)).Store(lanes);
        return lanes[0];
    }
}
