using System.Runtime.Intrinsics;

namespace Antiphon.Kernels;

/// <summary>
/// Activation rows in groups of a few tokens, as kernels for tiles read them: for every sixteen columns (a step) those of each token of the group, so that a
/// group is one run of memory. Made once for all matrices with that input.
/// </summary>
internal sealed unsafe class TokenGroups : IInputForm, IDisposable
{
    /// <summary>Columns of a step.</summary>
    public const int Lanes = 16;

    private const long LeastRoom = 1 << 18;

    private NativeBuffer<float> buffer = new(0);
    private int rows;
    private int stride;
    private int most;

    /// <summary>Number of groups; their sizes differ by one at most.</summary>
    public int Count { get; private set; }

    /// <inheritdoc/>
    public bool SplitsGroups => true;

    /// <summary>Forgets the content.</summary>
    public void Forget() => most = 0;

    /// <inheritdoc/>
    public void Dispose() => buffer.Dispose();

    /// <summary>Number of groups for so many tokens.</summary>
    public static int CountOf(int tokens, int mostTokens) => (tokens + mostTokens - 1) / mostTokens;

    /// <summary>The first token of a group; of the group behind the last: the number of tokens.</summary>
    public static int StartOf(int group, int groups, int tokens) => (int)((long)group * tokens / groups);

    /// <inheritdoc cref="StartOf"/>
    public int Start(int group) => StartOf(group, Count, rows);

    /// <summary>Number of tokens in a group.</summary>
    public int TokensOf(int group) => Start(group + 1) - Start(group);

    /// <summary>The first step of a group.</summary>
    public float* Group(int group) => buffer.Pointer + ((long)Start(group) * stride);

    /// <summary>Groups the rows of <paramref name="x"/> if that has not been done since they were written.</summary>
    /// <param name="x">At least one row.</param>
    /// <param name="mostTokens">Most tokens in a group.</param>
    /// <param name="team">Who works.</param>
    public void Prepare(Activations x, int mostTokens, ComputeTeam team)
    {
        if (most != mostTokens)
        {
            Begin(x, mostTokens);
            IInputForm.Convert(this, x, team);
        }
    }

    /// <summary>Makes room for rows that are then converted.</summary>
    /// <param name="x">The rows, which need not be written yet.</param>
    /// <param name="mostTokens">Most tokens in a group.</param>
    public void Begin(Activations x, int mostTokens)
    {
        long needed = (long)x.Rows * x.Stride;
        if (buffer.Length < needed)
        {
            buffer.Dispose();
            buffer = new NativeBuffer<float>(Math.Max(2 * needed, LeastRoom), hugePages: true);
        }

        (rows, stride, most) = (x.Rows, x.Stride, mostTokens);
        Count = CountOf(rows, mostTokens);
    }

    /// <inheritdoc/>
    public void Convert(Activations x, int row, int count, int worker)
    {
        int group = (int)((long)row * Count / rows);
        for (int end = row + count; row < end; row++)
        {
            while (Start(group + 1) <= row)
            {
                group++;
            }

            int tokens = TokensOf(group);
            float* source = x.Row(row);
            float* sourceEnd = source + stride;
            for (float* to = Group(group) + ((row - Start(group)) * Lanes); source < sourceEnd; source += Lanes, to += tokens * Lanes)
            {
                Vector512.Store(Vector512.Load(source), to);
            }
        }
    }
}
