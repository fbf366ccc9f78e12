using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels;

/// <summary>
/// The generated form of <see cref="DotTiles{T}"/>: all sums of a tile and a group of tokens stay in registers while columns pass by. Sixteen lanes are one
/// 512-bit register, or two of 256 bits, whose sums are then taken one half after the other: lanes never meet, and more rows and tokens share what is loaded.
/// Rows that are stored in a format are decoded by the first group; the others read the panel that it leaves.
/// </summary>
internal sealed class TileKernel
{
    private const int VectorBytes = 64;

    // Of rows that groups share, so much is done in a turn, and so many lines are fetched in it.
    private const int SharedTurn = 4;
    private const int SharedFetches = 3;

    private readonly KernelAssembler kernel = new();
    private readonly Assembler code;
    private readonly bool narrow;
    private readonly bool isShared;
    private readonly int rows;
    private readonly int all;
    private readonly int groups;
    private readonly TileDecoder decoder;

    private readonly AssemblerRegister64 weights;
    private readonly AssemblerRegister64 sums;
    private readonly AssemblerRegister64 w;
    private readonly AssemblerRegister64 x;
    private readonly AssemblerRegister64 left;
    private readonly AssemblerRegister64 ahead;
    private readonly AssemblerRegister64 panel;
    private readonly AssemblerRegister64 aheadStep;
    private readonly AssemblerRegister64 aheadSteps;

    // The group that is being written.
    private int group;
    private int start;
    private int tokens;

    private TileKernel(int all, KernelTier tier, TileWeights form)
    {
        code = kernel.Code;
        narrow = tier == KernelTier.Avx2;
        isShared = form == TileWeights.BF16Shared;
        rows = RowsOf(form);
        this.all = all;
        groups = TokenGroups.CountOf(all, MostTokens(tier, form));
        weights = kernel.TakeArgument(TileArguments.WeightsField);
        sums = kernel.TakeArgument(TileArguments.SumsField);
        ahead = kernel.TakeArgument(TileArguments.AheadField);
        w = kernel.Take();
        x = kernel.Take();
        left = kernel.Take();
        panel = kernel.Take();
        decoder = new TileDecoder(kernel, isShared ? TileWeights.BF16 : form, narrow, w);
        if (isShared)
        {
            aheadStep = kernel.TakeArgument(TileArguments.AheadStepField);
            aheadSteps = kernel.Take();
            code.imul(aheadSteps, aheadStep, SharedFetches);
        }
    }

    // Float32 rows are as good as a panel.
    private bool ReadsPanel => decoder.Form == TileWeights.Panel || (group > 0 && decoder.Form != TileWeights.F32);

    // Of what a group reads once more; no panel is written then.
    private AssemblerRegister64 Next => panel;

    private bool WritesPanel => group == 0 && groups > 1 && decoder.Form is not (TileWeights.Panel or TileWeights.F32);

    /// <summary>Most tokens in a group: what fits in the registers beside the weights and an input.</summary>
    public static int MostTokens(KernelTier tier, TileWeights form) => form == TileWeights.BF16Shared ? 8 : tier == KernelTier.Avx2 ? 3 : 6;

    /// <summary>Weight rows in a tile: of those that each group decodes anew, fewer rows and more tokens are less to decode.</summary>
    public static int RowsOf(TileWeights form) => form == TileWeights.BF16Shared ? 3 : DotTiles.Rows;

    /// <summary>How often a kernel fetches something while a group passes over some steps of a tile.</summary>
    public static long FetchesOf(TileWeights form, long steps, bool narrow) => form == TileWeights.BF16Shared ? steps / SharedTurn * SharedFetches : narrow ? 2 * steps : steps;

    /// <summary>Generates a kernel that takes <see cref="TileArguments"/>.</summary>
    /// <param name="all">Number of tokens, at least 1. If that is more than <see cref="MostTokens"/>, one group after the other passes over a tile.</param>
    /// <param name="tier">AVX2, or AVX-512 and better.</param>
    /// <param name="form">How the weights lie.</param>
    /// <exception cref="CodeGenerationException">The system denies executable memory.</exception>
    public static GeneratedCode Generate(int all, KernelTier tier, TileWeights form) => new TileKernel(all, tier, form).Generate();

    private GeneratedCode Generate()
    {
        decoder.EmitBegin();
        if (rows < 4)
        {
            // Results are written four at a time otherwise: the last would be another chunk's.
            code.mov(w, (1 << rows) - 1);
            code.kmovq(k2, w);
        }

        Label nextTile = code.CreateLabel();
        code.Label(ref nextTile);
        for (group = 0; group < groups; group++)
        {
            start = TokenGroups.StartOf(group, groups, all);
            tokens = TokenGroups.StartOf(group + 1, groups, all) - start;
            for (int half = 0; half < (narrow ? 2 : 1); half++)
            {
                EmitHalf(half);
            }
        }

        decoder.EmitNextTile();
        code.add(weights, kernel.Argument(TileArguments.TileBytesField));
        code.add(kernel.Argument(TileArguments.OutputField), rows * sizeof(float));
        code.add(sums, rows * all * VectorBytes);
        code.dec(kernel.Argument(TileArguments.TilesField));
        code.jnz(nextTile);
        return kernel.Finish();
    }

    private void EmitHalf(int half)
    {
        EmitSums(half);
        code.mov(panel, kernel.Argument(TileArguments.PanelField));
        code.mov(w, decoder.Form == TileWeights.Panel || !ReadsPanel ? weights : panel);

        if (groups == 1 && !decoder.HasFactors && !isShared && decoder.Form != TileWeights.Panel)
        {
            code.mov(Next, weights);
            code.add(Next, kernel.Argument(TileArguments.TileBytesField));
        }

        // The group's input, and in it the first of these columns.
        code.imul(x, kernel.Argument(TileArguments.InputStrideField), start);
        code.imul(left, kernel.Argument(TileArguments.ColumnBytesField), tokens);
        code.add(x, kernel.Argument(TileArguments.InputField));
        code.add(x, left);
        code.mov(left, kernel.Argument(TileArguments.StepsField));
        EmitSteps(half);
        Label stored = code.CreateLabel();
        if (!narrow || half == 1)
        {
            Label keep = code.CreateLabel();
            code.cmp(kernel.Argument(TileArguments.FinishField), 0);
            code.je(keep);
            code.imul(x, kernel.Argument(TileArguments.OutputStrideField), start);
            code.add(x, kernel.Argument(TileArguments.OutputField));
            if (narrow)
            {
                EmitNarrowFinish();
            }
            else
            {
                EmitWideFinish();
            }

            code.jmp(stored);
            code.Label(ref keep);
        }

        for (int sum = 0; sum < rows * tokens; sum++)
        {
            if (narrow)
            {
                code.vmovups(__ymmword_ptr[SumAt(sum, half)], Narrow(sum));
            }
            else
            {
                code.vmovups(__zmmword_ptr[SumAt(sum, half)], Wide(sum));
            }
        }

        code.Label(ref stored);
    }

    private void EmitSums(int half)
    {
        Label old = code.CreateLabel();
        Label begun = code.CreateLabel();
        code.cmp(kernel.Argument(TileArguments.AddField), 0);
        code.jne(old);
        for (int sum = 0; sum < rows * tokens; sum++)
        {
            if (narrow)
            {
                code.vxorps(Narrow(sum), Narrow(sum), Narrow(sum));
            }
            else
            {
                code.vpxord(Wide(sum), Wide(sum), Wide(sum));
            }
        }

        code.jmp(begun);
        code.Label(ref old);
        for (int sum = 0; sum < rows * tokens; sum++)
        {
            if (narrow)
            {
                code.vmovups(Narrow(sum), __ymmword_ptr[SumAt(sum, half)]);
            }
            else
            {
                code.vmovups(Wide(sum), __zmmword_ptr[SumAt(sum, half)]);
            }
        }

        code.Label(ref begun);
    }

    // All steps, as many as a block has in a turn; numbers without blocks in pairs of steps or more, what is left over first.
    private void EmitSteps(int half)
    {
        bool isPanel = ReadsPanel;
        int turn = isShared ? SharedTurn : isPanel ? 2 : decoder.StepsOfBlock;
        Label next = code.CreateLabel();
        if (isPanel || !decoder.HasFactors)
        {
            Label done = code.CreateLabel();
            for (int part = 1; part < turn; part *= 2)
            {
                Label even = code.CreateLabel();
                code.shr(left, 1);
                code.jnc(even);
                EmitTurn(half, part, isPanel);
                code.Label(ref even);
            }

            code.test(left, left);
            code.jz(done);
            code.Label(ref next);
            EmitTurn(half, turn, isPanel);
            code.dec(left);
            code.jnz(next);
            code.Label(ref done);
        }
        else
        {
            decoder.EmitBeginRows(tokens < 3);
            code.Label(ref next);
            EmitTurn(half, turn, isPanel);
            code.sub(left, turn);
            code.jnz(next);
        }
    }

    private void EmitTurn(int half, int steps, bool isPanel)
    {
        int bytes = isPanel ? rows * VectorBytes * steps : decoder.BytesOfBlock * steps / decoder.StepsOfBlock;
        for (int step = 0; step < steps; step++)
        {
            EmitFetch(half, step, steps, bytes, isPanel);
            if (narrow)
            {
                EmitNarrowStep(half, step, steps, isPanel);
            }
            else
            {
                EmitWideStep(step, steps, isPanel);
            }
        }

        code.add(w, bytes);
        code.add(x, steps * tokens * VectorBytes);
        if (WritesPanel)
        {
            code.add(panel, steps * rows * VectorBytes);
        }

        if (!isPanel)
        {
            decoder.EmitNextBlock();
        }
    }

    // What comes next is fetched evenly all the time, so that memory and multiplication both keep busy.
    private void EmitFetch(int half, int step, int steps, int bytes, bool isPanel)
    {
        if (isShared)
        {
            EmitSharedFetch(step, steps);
            return;
        }

        if (groups > 1 || decoder.IsCheap)
        {
            code.prefetcht1(__byte_ptr[ahead]);
            code.add(ahead, kernel.Argument(TileArguments.AheadStepField));
        }

        if (isPanel || groups > 1)
        {
            return;
        }

        // One group reads rows as fast as they come: of numbers without blocks those of the next tile, in the same order.
        if (!decoder.HasFactors)
        {
            for (int row = 0; half == 0 && step == 0 && row < rows; row++)
            {
                for (int line = 0; line < bytes; line += 64)
                {
                    code.prefetcht0(__byte_ptr[decoder.RowOf(Next, row) + line]);
                }
            }

            if (half == 0 && step == steps - 1)
            {
                code.add(Next, bytes);
            }

            return;
        }

        int lines = ((rows * bytes) + 63) / 64;
        for (int line = 0; half == 0 && line < lines; line++)
        {
            if (line * steps / lines == step)
            {
                code.prefetcht0(__byte_ptr[ahead + (64 * line)]);
            }
        }

        if (half == 0 && step == steps - 1)
        {
            code.add(ahead, rows * bytes);
        }
    }

    // With few instructions: they take up what neighbours on the core leave to this one.
    private void EmitSharedFetch(int step, int steps)
    {
        if (steps < SharedTurn)
        {
            return;
        }

        if (step < SharedFetches)
        {
            code.prefetcht1(step == 0 ? __byte_ptr[ahead] : __byte_ptr[ahead + (aheadStep * step)]);
        }
        else
        {
            code.add(ahead, aheadSteps);
        }
    }

    // Sums in 24 registers, the weights of three or four rows in the next ones, inputs in those before the last two in turns.
    private void EmitWideStep(int step, int steps, bool isPanel)
    {
        for (int row = 0; row < rows; row++)
        {
            AssemblerRegisterZMM values = Wide(24 + row);
            if (isPanel)
            {
                code.vmovups(values, __zmmword_ptr[w + (VectorBytes * ((rows * step) + row))]);
            }
            else
            {
                decoder.EmitWide(values, row, step, steps);
            }

            if (WritesPanel)
            {
                code.vmovups(__zmmword_ptr[panel + (VectorBytes * ((rows * step) + row))], values);
            }
        }

        for (int token = 0; token < tokens; token++)
        {
            AssemblerRegisterZMM value = Wide(24 + rows + (token % (6 - rows)));
            code.vmovups(value, __zmmword_ptr[x + (VectorBytes * ((tokens * step) + token))]);
            for (int row = 0; row < rows; row++)
            {
                code.vfmadd231ps(Wide((token * rows) + row), value, Wide(24 + row));
            }
        }
    }

    // Sums in twelve registers, the weights of one row in the last, and in the three before it the inputs of three tokens, or what decoding needs.
    // One or two tokens leave four registers more: two for their inputs, two for the decoder's constants.
    private void EmitNarrowStep(int half, int step, int steps, bool isPanel)
    {
        bool decodes = !isPanel && decoder.HasFactors;
        bool keepsInputs = !decodes || tokens < 3;
        int inputs = decodes ? 10 : 12;
        for (int token = 0; keepsInputs && token < tokens; token++)
        {
            code.vmovups(Narrow(inputs + token), __ymmword_ptr[InputAt(token)]);
        }

        AssemblerRegisterYMM values = Narrow(15);
        for (int row = 0; row < rows; row++)
        {
            int place = (VectorBytes * ((rows * step) + row)) + (half * VectorBytes / 2);
            if (isPanel)
            {
                code.vmovups(values, __ymmword_ptr[w + place]);
            }
            else
            {
                decoder.EmitNarrow(values, row, half, step, tokens < 3);
            }

            if (WritesPanel)
            {
                code.vmovups(__ymmword_ptr[panel + place], values);
            }

            for (int token = 0; token < tokens; token++)
            {
                if (keepsInputs)
                {
                    code.vfmadd231ps(Narrow((token * rows) + row), Narrow(inputs + token), values);
                }
                else
                {
                    code.vfmadd231ps(Narrow((token * rows) + row), values, __ymmword_ptr[InputAt(token)]);
                }
            }
        }

        AssemblerMemoryOperand InputAt(int token) => x + ((VectorBytes * ((tokens * step) + token)) + (half * VectorBytes / 2));
    }

    // Lane i to lane i + 8, then i + 4, of each row of four tokens, whose lanes are then parts of one register; a transposition adds up the rest.
    private void EmitWideFinish()
    {
        AssemblerRegisterZMM other = Wide(24);
        for (int first = 0; first < tokens; first += 4)
        {
            for (int row = 0; row < rows; row++)
            {
                EmitHalves(Sum(0), Sum(1), 0x44, 0xEE);
                if (first + 2 < tokens)
                {
                    EmitHalves(Sum(2), Sum(3), 0x44, 0xEE);
                }

                EmitHalves(Sum(0), Sum(2), 0x88, 0xDD);

                // Where there are fewer tokens, or rows below, anything stands in.
                AssemblerRegisterZMM Sum(int token) => first + token < tokens ? Wide(((first + token) * rows) + row) : Wide(25 + token);
            }

            int at = first * rows;
            code.vunpcklps(other, Wide(at), Wide(at + 1));
            code.vunpckhps(Wide(at), Wide(at), Wide(at + 1));
            code.vaddps(Wide(at), Wide(at), other);
            code.vunpcklps(other, Wide(at + 2), Wide(at + 3));
            code.vunpckhps(Wide(at + 2), Wide(at + 2), Wide(at + 3));
            code.vaddps(Wide(at + 2), Wide(at + 2), other);
            code.vunpcklpd(other, Wide(at), Wide(at + 2));
            code.vunpckhpd(Wide(at), Wide(at), Wide(at + 2));
            code.vaddps(Wide(at), Wide(at), other);
            for (int token = first; token < Math.Min(first + 4, tokens); token++)
            {
                code.vextractf32x4(rows < 4 ? __xmmword_ptr[x].k2 : __xmmword_ptr[x], Wide(at), (byte)(token - first));
                code.add(x, kernel.Argument(TileArguments.OutputStrideField));
            }
        }

        void EmitHalves(AssemblerRegisterZMM a, AssemblerRegisterZMM b, byte low, byte high)
        {
            code.vshuff32x4(other, a, b, low);
            code.vshuff32x4(a, a, b, high);
            code.vaddps(a, a, other);
        }
    }

    // The same with parts of 128 bits for two tokens; lanes 0 to 7 were stored by the first half.
    private void EmitNarrowFinish()
    {
        AssemblerRegisterYMM other = Narrow(12);
        for (int sum = 0; sum < rows * tokens; sum++)
        {
            code.vaddps(Narrow(sum), Narrow(sum), __ymmword_ptr[SumAt(sum, 0)]);
        }

        for (int first = 0; first < tokens; first += 2)
        {
            int at = first * rows;
            for (int row = 0; row < rows; row++)
            {
                AssemblerRegisterYMM a = Narrow(at + row);
                AssemblerRegisterYMM b = first + 1 < tokens ? Narrow(at + rows + row) : a;
                code.vperm2f128(other, a, b, 0x20);
                code.vperm2f128(a, a, b, 0x31);
                code.vaddps(a, a, other);
            }

            code.vunpcklps(other, Narrow(at), Narrow(at + 1));
            code.vunpckhps(Narrow(at), Narrow(at), Narrow(at + 1));
            code.vaddps(Narrow(at), Narrow(at), other);
            code.vunpcklps(other, Narrow(at + 2), Narrow(at + 3));
            code.vunpckhps(Narrow(at + 2), Narrow(at + 2), Narrow(at + 3));
            code.vaddps(Narrow(at + 2), Narrow(at + 2), other);
            code.vunpcklpd(other, Narrow(at), Narrow(at + 2));
            code.vunpckhpd(Narrow(at), Narrow(at), Narrow(at + 2));
            code.vaddps(Narrow(at), Narrow(at), other);
            for (int token = first; token < Math.Min(first + 2, tokens); token++)
            {
                code.vextractf128(__xmmword_ptr[x], Narrow(at), (byte)(token - first));
                code.add(x, kernel.Argument(TileArguments.OutputStrideField));
            }
        }
    }

    // Where the sum of a row and a token of this group is kept.
    private AssemblerMemoryOperand SumAt(int sum, int half) => sums + ((VectorBytes * ((rows * start) + sum)) + (half * VectorBytes / 2));

    private static AssemblerRegisterZMM Wide(int index) => new(Register.ZMM0 + index);

    private static AssemblerRegisterYMM Narrow(int index) => new(Register.YMM0 + index);
}
