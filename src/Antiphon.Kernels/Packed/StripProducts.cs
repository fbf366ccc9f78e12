using System.Runtime.CompilerServices;

namespace Antiphon.Kernels.Packed;

/// <summary>The product of a matrix that is packed in strips of rows.</summary>
internal unsafe interface IStripWork
{
    /// <summary>Where the results go.</summary>
    MatrixOutput Product { get; }

    /// <summary>Rows of the input.</summary>
    int Tokens { get; }

    /// <summary>Strips that hold the matrix's rows.</summary>
    int Strips { get; }

    /// <summary>Rows of the first strip that are before the matrix's.</summary>
    int Skip { get; }

    /// <summary>A chunk has at least so many strips.</summary>
    int Least { get; }

    /// <summary>A chunk is a multiple of so many strips.</summary>
    int Together { get; }

    /// <summary>Multiplies whole strips.</summary>
    /// <param name="first">The first strip.</param>
    /// <param name="strips">How many.</param>
    /// <param name="output">Receives the first strip's results.</param>
    /// <param name="stride">From a token's results to the next one's, in floats.</param>
    /// <param name="worker">Who multiplies.</param>
    void Run(int first, int strips, float* output, int stride, int worker);

    /// <summary>Room for the results of one strip, which <see cref="Run"/> does not use otherwise.</summary>
    float* Room(int worker);
}

/// <summary>Products with the same input, the strips of one after those of another.</summary>
/// <remarks>
/// Chunks become smaller towards the end: each is a share of what is left, so that there are few starts, and yet no worker waits long for the last chunk.
/// </remarks>
internal unsafe struct StripProducts<TWork> : IParallelWork
    where TWork : struct, IStripWork
{
    private const int StripRows = PackedFormat.StripRows;
    private const int MaxChunks = 256;

    private Works works;
    private Ends workEnds;
    private ChunkEnds chunkEnds;
    private int count;

    /// <summary>Number of chunks, after <see cref="Cut"/>.</summary>
    public int Chunks { get; private set; }

    /// <summary>Adds a product, for which numbers of strips are as good as for the first.</summary>
    public void Add(in TWork work)
    {
        works[count] = work;
        workEnds[count] = checked((count == 0 ? 0 : workEnds[count - 1]) + work.Strips);
        count++;
    }

    /// <summary>Cuts the products into chunks.</summary>
    public void Cut(int workers)
    {
        int strips = count == 0 ? 0 : workEnds[count - 1];
        int together = works[0].Together;
        int end = 0;
        while (end < strips)
        {
            int left = strips - end;
            long size = Math.Max(Math.Max(works[0].Least, together), left / (2 * workers));
            end = workers == 1 || Chunks == MaxChunks - 1 ? strips : (int)Math.Min(strips, end + ((size + together - 1) / together * together));
            chunkEnds[Chunks++] = end;
        }
    }

    /// <inheritdoc/>
    public readonly void Execute(int chunk, int worker)
    {
        int first = chunk == 0 ? 0 : chunkEnds[chunk - 1];
        int end = chunkEnds[chunk];
        int start = 0;
        for (int product = 0; start < end; start = workEnds[product], product++)
        {
            int from = Math.Max(first, start);
            int to = Math.Min(end, workEnds[product]);
            if (from < to)
            {
                Execute(in works[product], from - start, to - start, worker);
            }
        }
    }

    private static void Execute(in TWork work, int first, int end, int worker)
    {
        MatrixOutput product = work.Product;
        int firstRow = first * StripRows;

        // Strips of which rows are missing are computed into scratch memory.
        if (first == 0 && work.Skip > 0)
        {
            Part(work, first++, worker);
        }

        bool cut = end == work.Strips && ((long)end * StripRows) - work.Skip > product.Matrix.Rows && end > first;
        int whole = cut ? end - 1 : end;
        if (whole > first)
        {
            work.Run(first, whole - first, product.Output + ((long)first * StripRows) - work.Skip, product.Stride, worker);
        }

        if (cut)
        {
            Part(work, whole, worker);
        }

        product.FindMaxima(firstRow, Math.Min(end * StripRows, product.Matrix.Rows), work.Tokens);
    }

    private static void Part(in TWork work, int strip, int worker)
    {
        MatrixOutput product = work.Product;
        float* part = work.Room(worker);
        work.Run(strip, 1, part, StripRows, worker);
        int firstRow = (strip * StripRows) - work.Skip;
        int from = Math.Max(0, -firstRow);
        int rows = Math.Min(StripRows, product.Matrix.Rows - firstRow) - from;
        for (int token = 0; token < work.Tokens; token++)
        {
            new Span<float>(part + ((long)token * StripRows) + from, rows)
                .CopyTo(new Span<float>(product.Output + ((long)token * product.Stride) + firstRow + from, rows));
        }
    }

    [InlineArray(WeightMatrix.MostTogether)]
    private struct Works
    {
        private TWork first;
    }

    [InlineArray(WeightMatrix.MostTogether)]
    private struct Ends
    {
        private int first;
    }

    [InlineArray(MaxChunks)]
    private struct ChunkEnds
    {
        private int first;
    }
}
