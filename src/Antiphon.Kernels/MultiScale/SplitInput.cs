using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Antiphon.Kernels.MultiScale;

/// <summary>Activations as integers in groups of 16 tokens, made once for all matrices with that input.</summary>
internal sealed unsafe class SplitInput : IDisposable
{
    private const long LeastRoom = 1 << 18;

    private NativeBuffer<byte> buffer = new(0);
    private bool prepared;
    private SplitOrder preparedOrder;
    private int preparedPasses;
    private int columns;

    /// <summary>Forgets the content.</summary>
    public void Forget() => prepared = false;

    /// <inheritdoc/>
    public void Dispose() => buffer.Dispose();

    /// <summary>The first byte of a group of 16 tokens.</summary>
    public byte* Group(int group) => buffer.Pointer + (group * new SplitForm(columns, SplitForm.GroupTokens).ByteCount);

    /// <summary>Splits the rows of <paramref name="x"/> if that has not been done since they were written.</summary>
    public void Prepare(Activations x, SplitOrder order, int passes, ComputeTeam team)
    {
        if (prepared && preparedOrder == order && preparedPasses == passes)
        {
            return;
        }

        columns = x.Columns;
        int groups = (x.Rows + SplitForm.GroupTokens - 1) / SplitForm.GroupTokens;
        long needed = checked(groups * new SplitForm(columns, SplitForm.GroupTokens).ByteCount);
        if (buffer.Length < needed)
        {
            buffer.Dispose();
            buffer = new NativeBuffer<byte>(Math.Max(2 * needed, LeastRoom));
        }

        SplitWork work = new() { X = x, Order = order, Passes = passes, Input = this };

        // Rows of a token or two are not worth waking the team.
        if (x.Rows < 4)
        {
            for (int row = 0; row < x.Rows; row++)
            {
                work.Execute(row, 0);
            }
        }
        else
        {
            team.Run(ref work, x.Rows);
        }

        (prepared, preparedOrder, preparedPasses) = (true, order, passes);
    }

    /// <summary>Splits one row of a group.</summary>
    /// <param name="x">The row, with zeros behind it up to a multiple of 16.</param>
    /// <param name="columns">Its columns.</param>
    /// <param name="order">The order of the integers.</param>
    /// <param name="passes">1 or 2.</param>
    /// <param name="group">The group's first byte.</param>
    /// <param name="form">Its form.</param>
    /// <param name="token">Which of its tokens.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Split(float* x, int columns, SplitOrder order, int passes, byte* group, SplitForm form, int token)
    {
        // As integers, magnitudes are in the same order, and NaN is greater than all.
        Vector512<int> greatest = Vector512<int>.Zero;
        for (int column = 0; column < columns; column += 16)
        {
            greatest = Vector512.Max(greatest, Vector512.Load((int*)x + column) & Vector512.Create(0x7FFFFFFF));
        }

        int largestBits = 0;
        for (int i = 0; i < 16; i++)
        {
            largestBits = Math.Max(largestBits, greatest.GetElement(i));
        }

        float largest = BitConverter.Int32BitsToSingle(largestBits);
        RowScale scale = SplitArithmetic.ScaleOf(largest, passes);
        float* factors = (float*)(group + form.FactorsAt) + (2 * token);
        factors[0] = scale.Factor;
        factors[1] = scale.Unlift;
        Vector512<float> lift = Vector512.Create(scale.Lift);
        Vector512<float> inverse = Vector512.Create(scale.Inverse);

        // What a row of NaN holds must not reach the conversion to integers, which is undefined there.
        Vector512<float> keep = scale.Inverse == 0 ? Vector512<float>.Zero : Vector512<float>.AllBitsSet;
        int steps = CodeLayout.Steps(columns);
        byte* integers = group + (64 * token);
        int* sums32 = (int*)(group + form.Sums32At) + token;
        int* sums16 = (int*)(group + form.Sums16At) + (2 * token);
        for (int step = 0; step < steps; step++, integers += form.StepBytes, sums32 += form.Tokens, sums16 += 2 * form.Tokens)
        {
            int column = step * CodeLayout.TileColumns;
            Vector512<int> first = Vector512.ConvertToInt32Native(Vector512.Round((Vector512.Load(x + column) & keep) * lift * inverse));
            Vector512<int> second = column + 16 < columns
                ? Vector512.ConvertToInt32Native(Vector512.Round((Vector512.Load(x + column + 16) & keep) * lift * inverse))
                : Vector512<int>.Zero;
            sums16[0] = -Vector512.Sum(first);
            sums16[1] = -Vector512.Sum(second);
            *sums32 = sums16[0] + sums16[1];
            Vector512<short> both = Vector512.Narrow(first, second);
            if (order == SplitOrder.Pairs)
            {
                both.Store((short*)integers);
                for (short* four = (short*)integers; four < (short*)integers + 32; four += 4)
                {
                    (four[1], four[2]) = (four[2], four[1]);
                }
            }
            else if (passes == 1)
            {
                Store(order == SplitOrder.Unsigned ? both + Vector512.Create((short)128) : both, integers);
                Vector256<byte>.Zero.Store(integers + 32);
            }
            else if (order == SplitOrder.Unsigned)
            {
                Store((both >>> 8) + Vector512.Create((short)128), integers);
                Store(both, integers + 32);
            }
            else
            {
                Vector512<short> low = (both << 8) >> 8;
                Store((both - low) >> 8, integers);
                Store(low, integers + 32);
            }
        }

        StoreDigits(group + form.Digits32At + (32 * token), 8, (int*)(group + form.Sums32At) + token, form.Tokens, steps);
        StoreDigits(group + form.Digits16At + (64 * token), 16, (int*)(group + form.Sums16At) + (2 * token), form.Tokens, steps);

        static void Store(Vector512<short> words, byte* bytes) => Vector256.Narrow(words.GetLower(), words.GetUpper()).AsByte().Store(bytes);
    }

    /// <summary>The digits of minus the sums of one token, of 8 blocks at a time.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void StoreDigits(byte* digits, int blocks, int* sums, int tokens, int steps)
    {
        int perTile = blocks / CodeLayout.SuperTiles;
        int tiles = CodeLayout.SuperTiles / perTile;
        int* eight = stackalloc int[8];
        for (int step = 0, part = 0; step + tiles <= steps; step += tiles, part = (part + 1) % perTile)
        {
            for (int i = 0; i < 8; i++)
            {
                eight[i] = sums[(i / perTile * perTile * tokens) + (i % perTile)];
            }

            Vector256<int> sum = Vector256.Load(eight);
            byte* to = digits + (8 * part);
            Store(sum, to + (2 * blocks));
            sum = (sum - ((sum << 24) >> 24)) >> 8;
            Store(sum, to + blocks);
            sum = (sum - ((sum << 24) >> 24)) >> 8;
            Store(sum, to);
            sums += 8 * tokens;
            if (part == perTile - 1)
            {
                digits += 4L * blocks * tokens;
            }
        }

        static void Store(Vector256<int> digit, byte* to)
        {
            Vector128<short> words = Vector128.Narrow(digit.GetLower(), digit.GetUpper());
            Vector64.Store(Vector128.Narrow(words, words).GetLower(), (sbyte*)to);
        }
    }

    [StructLayout(LayoutKind.Auto)]
    private struct SplitWork : IParallelWork
    {
        public Activations X;
        public SplitInput Input;
        public SplitOrder Order;
        public int Passes;

        public readonly void Execute(int chunk, int worker)
        {
            int group = chunk / SplitForm.GroupTokens;
            int tokens = Math.Min(SplitForm.GroupTokens, X.Rows - (group * SplitForm.GroupTokens));
            Split(X.Row(chunk), X.Columns, Order, Passes, Input.Group(group), new SplitForm(X.Columns, tokens), chunk % SplitForm.GroupTokens);
        }
    }
}
