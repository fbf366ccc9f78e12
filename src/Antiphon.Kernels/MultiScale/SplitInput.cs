using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Antiphon.Kernels.MultiScale;

/// <summary>Activations as integers in groups of 16 tokens, made once for all matrices with that input.</summary>
internal sealed unsafe class SplitInput : IInputForm, IDisposable
{
    private const long LeastRoom = 1 << 18;

    /// <summary>The odd bytes, then the even ones.</summary>
    private static ReadOnlySpan<byte> HighThenLow =>
    [
        1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31, 33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63,
        0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 42, 44, 46, 48, 50, 52, 54, 56, 58, 60, 62,
    ];

    /// <summary>Of every four words the first, the third, the second, the fourth: the same in all quarters.</summary>
    private static Vector512<byte> PairOrder => Vector512.Create(0x0706_0302_0504_0100UL, 0x0F0E_0B0A_0D0C_0908UL, 0x0706_0302_0504_0100UL, 0x0F0E_0B0A_0D0C_0908UL, 0x0706_0302_0504_0100UL, 0x0F0E_0B0A_0D0C_0908UL, 0x0706_0302_0504_0100UL, 0x0F0E_0B0A_0D0C_0908UL).AsByte();

    private NativeBuffer<byte> buffer = new(0);
    private bool prepared;
    private SplitOrder order;
    private int passes;
    private int digits;

    // What rows still lack.
    private bool withIntegers;
    private int newDigits;
    private int columns;

    /// <inheritdoc/>
    public bool SplitsGroups => true;

    /// <summary>Forgets the content.</summary>
    public void Forget() => prepared = false;

    /// <inheritdoc/>
    public void Dispose() => buffer.Dispose();

    /// <summary>The first byte of a group of 16 tokens.</summary>
    public byte* Group(int group) => buffer.Pointer + (group * new SplitForm(columns, SplitForm.GroupTokens).ByteCount);

    /// <summary>Splits the rows of <paramref name="x"/> if that has not been done since they were written.</summary>
    /// <param name="x">The rows.</param>
    /// <param name="order">The order of the integers.</param>
    /// <param name="passes">1 or 2.</param>
    /// <param name="digits">Whose digits are wanted: 1 for sums over 32 columns, 2 for sums over 16, 0 for none.</param>
    /// <param name="team">Who splits.</param>
    public void Prepare(Activations x, SplitOrder order, int passes, int digits, ComputeTeam team)
    {
        bool split = !prepared || this.order != order || this.passes != passes;
        int known = split ? 0 : this.digits;
        if (!split && (digits & ~known) == 0)
        {
            return;
        }

        Begin(x, order, passes, known | digits);
        (withIntegers, newDigits) = (split, digits & ~known);
        IInputForm.Convert(this, x, team);
    }

    /// <summary>Makes room for rows that are then converted.</summary>
    /// <param name="x">The rows, which need not be written yet.</param>
    /// <param name="order">The order of the integers.</param>
    /// <param name="passes">1 or 2.</param>
    /// <param name="digits">As for <see cref="Prepare"/>.</param>
    public void Begin(Activations x, SplitOrder order, int passes, int digits)
    {
        columns = x.Columns;
        int groups = (x.Rows + SplitForm.GroupTokens - 1) / SplitForm.GroupTokens;
        long needed = checked(groups * new SplitForm(columns, SplitForm.GroupTokens).ByteCount);
        if (buffer.Length < needed)
        {
            buffer.Dispose();
            buffer = new NativeBuffer<byte>(Math.Max(2 * needed, LeastRoom));
        }

        (prepared, this.order, this.passes, this.digits) = (true, order, passes, digits);
        (withIntegers, newDigits) = (true, digits);
    }

    /// <inheritdoc/>
    public void Convert(Activations x, int row, int count, int worker)
    {
        for (int end = row + count; row < end; row += count)
        {
            int group = row / SplitForm.GroupTokens;
            int token = row % SplitForm.GroupTokens;
            count = Math.Min(end - row, SplitForm.GroupTokens - token);
            SplitForm form = new(columns, Math.Min(SplitForm.GroupTokens, x.Rows - (group * SplitForm.GroupTokens)));
            if (withIntegers)
            {
                Split(x.Row(row), x.Stride, columns, order, passes, Group(group), form, token, count);
            }

            for (int perTile = 1; perTile <= 2; perTile++)
            {
                for (int i = 0; i < count && (newDigits & perTile) != 0; i++)
                {
                    StoreDigits(columns, perTile, Group(group), form, token + i);
                }
            }
        }
    }

    /// <summary>Splits rows of a group that follow each other, all but their digits.</summary>
    /// <param name="x">The first of the rows, with zeros behind each up to a multiple of 16.</param>
    /// <param name="stride">Values from a row to the next.</param>
    /// <param name="columns">Columns of a row.</param>
    /// <param name="order">The order of the integers.</param>
    /// <param name="passes">1 or 2.</param>
    /// <param name="group">The group's first byte.</param>
    /// <param name="form">Its form.</param>
    /// <param name="token">The first row's place among the group's tokens.</param>
    /// <param name="count">Rows.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Split(float* x, int stride, int columns, SplitOrder order, int passes, byte* group, SplitForm form, int token, int count)
    {
        RowScale* scales = stackalloc RowScale[SplitForm.GroupTokens];
        float* factors = (float*)(group + form.FactorsAt) + (2 * token);
        for (int row = 0; row < count; row++)
        {
            RowScale scale = SplitArithmetic.ScaleOf(Largest(x + ((long)row * stride), columns), passes);
            factors[2 * row] = scale.Factor;
            factors[(2 * row) + 1] = scale.Unlift;
            scales[row] = scale;
        }

        // Tile after tile, so that what is written lies together: rows one after the other, at a distance of a kilobyte, waited for memory at every line.
        int steps = CodeLayout.Steps(columns);
        for (int step = 0; step < steps; step++)
        {
            byte* integers = group + (step * (long)form.StepBytes) + (64 * token);
            int* sums32 = (int*)(group + form.Sums32At) + (step * form.Tokens) + token;
            int* sums16 = (int*)(group + form.Sums16At) + (2 * ((step * form.Tokens) + token));
            for (int row = 0; row < count; row++)
            {
                float* values = x + ((long)row * stride) + (step * CodeLayout.TileColumns);
                bool whole = (step * CodeLayout.TileColumns) + 16 < columns;
                if (order == SplitOrder.Pairs)
                {
                    SplitPairs(values, whole, scales[row], integers + (64 * row), sums16 + (2 * row), sums32 + row);
                }
                else
                {
                    SplitBytes(values, whole, scales[row], order, passes, integers + (64 * row), sums16 + (2 * row), sums32 + row);
                }
            }
        }
    }

    /// <summary>The greatest magnitude of a row, or NaN if there is one in it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Largest(float* x, int columns)
    {
        // As integers, magnitudes are in the same order, and NaN is greater than all.
        Vector512<int> greatest = Vector512<int>.Zero;
        for (int column = 0; column < columns; column += 16)
        {
            greatest = Vector512.Max(greatest, Vector512.Load((int*)x + column) & Vector512.Create(0x7FFFFFFF));
        }

        int largest = 0;
        for (int i = 0; i < 16; i++)
        {
            largest = Math.Max(largest, greatest.GetElement(i));
        }

        return BitConverter.Int32BitsToSingle(largest);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void SplitBytes(float* x, bool whole, in RowScale scale, SplitOrder order, int passes, byte* integers, int* sums16, int* sums32)
    {
        Vector512<float> lift = Vector512.Create(scale.Lift);
        Vector512<float> inverse = Vector512.Create(scale.Inverse);

        // What a row of NaN holds must not reach the conversion to integers, which is undefined there.
        Vector512<float> keep = Vector512.Create(scale.Inverse == 0 ? 0 : -1).AsSingle();
        Vector512<int> first = Rounded((Vector512.Load(x) & keep) * lift * inverse);
        Vector512<int> second = whole ? Rounded((Vector512.Load(x + 16) & keep) * lift * inverse) : Vector512<int>.Zero;

        StoreSums(first, second, sums16, sums32);
        Vector512<short> both = Vector512.Narrow(first, second);
        if (passes == 1)
        {
            Store(order == SplitOrder.Unsigned ? both + Vector512.Create((short)128) : both, integers);
            Vector256<byte>.Zero.Store(integers + 32);
        }
        else if (Avx512Vbmi.IsSupported)
        {
            // The low byte is signed: its sign counts in the high one.
            Vector512<short> bytes = order == SplitOrder.Unsigned
                ? both ^ Vector512.Create(short.MinValue)
                : (both + Vector512.Create((short)0x80)) ^ Vector512.Create((short)0x80);
            Avx512Vbmi.PermuteVar64x8(bytes.AsByte(), Vector512.Create(HighThenLow)).Store(integers);
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

        static void Store(Vector512<short> words, byte* bytes) => Vector256.Narrow(words.GetLower(), words.GetUpper()).AsByte().Store(bytes);

        // To nearest even; the instruction that converts does it too.
        static Vector512<int> Rounded(Vector512<float> values) =>
            Avx512F.IsSupported ? Avx512F.ConvertToVector512Int32(values) : Vector512.ConvertToInt32Native(Vector512.Round(values));
    }

    /// <summary>Minus the sums of both halves of a tile, and of all of it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void StoreSums(Vector512<int> first, Vector512<int> second, int* sums16, int* sums32)
    {
        // Both sums at once: one in the lower half, one in the upper.
        Vector512<int> halves = Vector512.Create(first.GetLower() + first.GetUpper(), second.GetLower() + second.GetUpper());
        halves += Vector512.Shuffle(halves, Vector512.Create(4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));
        halves += Vector512.Shuffle(halves, Vector512.Create(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
        halves += Vector512.Shuffle(halves, Vector512.Create(1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));
        sums16[0] = -halves.ToScalar();
        sums16[1] = -halves.GetUpper().ToScalar();
        *sums32 = sums16[0] + sums16[1];
    }

    /// <summary>The integers of <see cref="SplitOrder.Pairs"/> of a whole tile, and their sums.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void SplitPairs(float* x, in RowScale scale, byte* integers, int* sums16, int* sums32)
    {
        Vector512<float> lift = Vector512.Create(scale.Lift);
        Vector512<float> inverse = Vector512.Create(scale.Inverse);
        Vector512<float> keep = Vector512.Create(scale.Inverse == 0 ? 0 : -1).AsSingle();
        Vector512<int> first = Avx512F.ConvertToVector512Int32((Vector512.Load(x) & keep) * lift * inverse);
        Vector512<int> second = Avx512F.ConvertToVector512Int32((Vector512.Load(x + 16) & keep) * lift * inverse);
        StoreSums(first, second, sums16, sums32);

        // Packing takes quarters of both in turns, four columns each.
        Vector512<short> turns = Avx512BW.PackSignedSaturate(first, second);
        Vector512<long> columns = Avx512F.PermuteVar8x64(turns.AsInt64(), Vector512.Create(0, 2, 4, 6, 1, 3, 5, 7));
        Avx512BW.Shuffle(columns.AsByte(), PairOrder).Store(integers);
    }

    /// <summary>The integers of <see cref="SplitOrder.Pairs"/> and their sums, in vectors that processors without AVX-512 have.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void SplitPairs(float* x, bool whole, in RowScale scale, byte* integers, int* sums16, int* sums32)
    {
        if (Avx512BW.IsSupported && whole)
        {
            SplitPairs(x, scale, integers, sums16, sums32);
            return;
        }

        Vector256<float> lift = Vector256.Create(scale.Lift);
        Vector256<float> inverse = Vector256.Create(scale.Inverse);
        Vector256<float> keep = Vector256.Create(scale.Inverse == 0 ? 0 : -1).AsSingle();
        sums16[0] = -Sixteen(x, integers);
        if (whole)
        {
            sums16[1] = -Sixteen(x + 16, integers + 32);
        }
        else
        {
            sums16[1] = 0;
            Vector256<byte>.Zero.Store(integers + 32);
        }

        *sums32 = sums16[0] + sums16[1];

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        int Sixteen(float* from, byte* to)
        {
            Vector256<int> first = Rounded(Vector256.Load(from));
            Vector256<int> second = Rounded(Vector256.Load(from + 8));
            Vector256.Shuffle(Vector256.Narrow(first, second), Vector256.Create(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15)).Store((short*)to);
            return Vector256.Sum(first + second);
        }

        // What the conversion does with them: to nearest even.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        Vector256<int> Rounded(Vector256<float> values)
        {
            values = (values & keep) * lift * inverse;
            return Avx.IsSupported ? Avx.ConvertToVector256Int32(values) : Vector256.ConvertToInt32Native(Vector256.Round(values));
        }
    }

    /// <summary>The digits of minus the sums of one token, which must have been split, of 8 blocks at a time.</summary>
    /// <param name="columns">Columns of the row.</param>
    /// <param name="perTile">Sums of a tile: 1 or 2.</param>
    /// <param name="group">The group's first byte.</param>
    /// <param name="form">Its form.</param>
    /// <param name="token">Which of its tokens.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void StoreDigits(int columns, int perTile, byte* group, SplitForm form, int token)
    {
        int blocks = CodeLayout.SuperTiles * perTile;
        int tokens = form.Tokens;
        int steps = CodeLayout.Steps(columns);
        byte* digits = group + (perTile == 1 ? form.Digits32At : form.Digits16At) + (4 * blocks * token);
        int* sums = (int*)(group + (perTile == 1 ? form.Sums32At : form.Sums16At)) + (perTile * token);
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
}
