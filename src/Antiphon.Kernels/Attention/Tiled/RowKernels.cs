using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.Tiled;

/// <summary>Kernels that bring rows into the layouts of <see cref="BlockKernel"/>, and results out of it.</summary>
internal static class RowKernels
{
    /// <summary>Rounds rows to bfloat16 and puts them one behind the other, each filled up to a whole number of 32 values with zeros.</summary>
    /// <param name="format">F32, F16 or BF16.</param>
    /// <param name="size">Values in a row.</param>
    public static GeneratedCode GenerateRows(TensorFormat format, int size)
    {
        KernelAssembler kernel = new();
        Assembler code = kernel.Code;
        AssemblerRegister64 rows = kernel.TakeArgument(RowArguments.RowsField);
        AssemblerRegister64 destination = kernel.TakeArgument(RowArguments.DestinationField);
        AssemblerRegister64 count = kernel.TakeArgument(RowArguments.CountField);
        AssemblerRegister64 row = kernel.Take();
        EmitMasks(kernel, format, size);
        Label next = code.CreateLabel();
        code.Label(ref next);
        code.mov(row, __qword_ptr[rows]);
        code.add(rows, 8);
        for (int d = 0; d < size; d += 32)
        {
            EmitLoad(code, format, row, d, size, zmm0);
            code.vmovdqu64(__zmmword_ptr[destination + (2 * d)], zmm0);
        }

        code.add(destination, 2 * TiledSizes.Padded(size));
        code.dec(count);
        code.jnz(next);
        return kernel.Finish();
    }

    /// <summary>Rounds 16 float32 rows to bfloat16 and turns them into columns: for every 32 values, 16 rows with a pair of each.</summary>
    /// <param name="size">Values in a row.</param>
    public static GeneratedCode GenerateColumns(int size)
    {
        KernelAssembler kernel = new();
        Assembler code = kernel.Code;
        AssemblerRegister64 rows = kernel.TakeArgument(RowArguments.RowsField);
        AssemblerRegister64 destination = kernel.TakeArgument(RowArguments.DestinationField);
        AssemblerRegister64 row = kernel.Take();
        AssemblerRegister64 offset = kernel.Take();
        AssemblerRegister64 count = kernel.Take();
        EmitMasks(kernel, TensorFormat.F32, size);
        code.xor(offset, offset);
        if (size / 32 > 0)
        {
            Label next = code.CreateLabel();
            code.mov(count, size / 32);
            code.Label(ref next);
            EmitStep(32);
            code.add(offset, 128);
            code.dec(count);
            code.jnz(next);
        }

        if (size % 32 > 0)
        {
            EmitStep(size % 32);
        }

        return kernel.Finish();

        void EmitStep(int values)
        {
            for (int i = 0; i < 16; i++)
            {
                code.mov(row, __qword_ptr[rows + (8 * i)]);
                code.add(row, offset);
                EmitLoad(code, TensorFormat.F32, row, 0, values, Zmm(i));
            }

            foreach (AssemblerRegisterZMM pair in Transposition.Emit(code))
            {
                code.vmovups(__zmmword_ptr[destination], pair);
                code.add(destination, 64);
            }
        }
    }

    /// <summary>Turns 32 bfloat16 rows into columns: for each value, the 32 of its place. Asks for the rows ahead meanwhile.</summary>
    /// <param name="size">Values in a row, a multiple of 32.</param>
    /// <param name="aheadBytes">Bytes of a key row to ask for; 0: nothing is asked for.</param>
    public static GeneratedCode GenerateValues(int size, int aheadBytes)
    {
        KernelAssembler kernel = new();
        Assembler code = kernel.Code;
        AssemblerRegister64 rows = kernel.TakeArgument(RowArguments.RowsField);
        AssemblerRegister64 destination = kernel.TakeArgument(RowArguments.DestinationField);
        AssemblerRegister64 ahead = kernel.TakeArgument(RowArguments.AheadField);
        AssemblerRegister64 first = kernel.Take();
        AssemblerRegister64 second = kernel.Take();
        AssemblerRegister64 offset = kernel.Take();
        Label next = code.CreateLabel();
        code.xor(offset, offset);
        code.Label(ref next);
        for (int half = 0; half < 2; half++)
        {
            for (int pair = 0; pair < 16; pair++)
            {
                code.mov(first, __qword_ptr[rows + (16 * pair)]);
                code.mov(second, __qword_ptr[rows + (16 * pair) + 8]);
                code.vmovdqu16(zmm16, __zmmword_ptr[first + (offset * 1)]);

                // Pairs of words: values 0 to 3 of every 8 in the first half, 4 to 7 in the second.
                if (half == 0)
                {
                    code.vpunpcklwd(Zmm(pair), zmm16, __zmmword_ptr[second + (offset * 1)]);
                }
                else
                {
                    code.vpunpckhwd(Zmm(pair), zmm16, __zmmword_ptr[second + (offset * 1)]);
                }

                if (aheadBytes > 0)
                {
                    code.mov(first, __qword_ptr[ahead + ((256 * half) + (16 * pair))]);
                    code.mov(second, __qword_ptr[ahead + ((256 * half) + (16 * pair) + 8)]);
                    code.prefetcht0(__byte_ptr[first + (offset * 1)]);
                    code.prefetcht0(__byte_ptr[second + (offset * 1)]);
                }
            }

            AssemblerRegisterZMM[] columns = Transposition.Emit(code);
            for (int i = 0; i < 16; i++)
            {
                code.vmovups(__zmmword_ptr[destination + (((8 * (i / 4)) + (i % 4) + (4 * half)) * 64)], columns[i]);
            }
        }

        code.add(destination, 32 * 64);
        code.add(offset, 64);
        code.cmp(offset, 2 * size);
        code.jb(next);
        return kernel.Finish();
    }

    /// <summary>Scales weighted sums, which have a row for each value, and writes them to 16 output rows.</summary>
    /// <param name="size">Values in an output row.</param>
    public static GeneratedCode GenerateOutputs(int size)
    {
        KernelAssembler kernel = new();
        Assembler code = kernel.Code;
        AssemblerRegister64 rows = kernel.TakeArgument(RowArguments.RowsField);
        AssemblerRegister64 source = kernel.TakeArgument(RowArguments.DestinationField);
        AssemblerRegister64 factors = kernel.TakeArgument(RowArguments.FactorsField);
        AssemblerRegister64 row = kernel.Take();
        AssemblerRegister64 offset = kernel.Take();
        EmitMasks(kernel, TensorFormat.F32, size);
        code.xor(offset, offset);
        if (size / 16 > 0)
        {
            Label next = code.CreateLabel();
            code.Label(ref next);
            EmitTile(false);
            code.add(offset, 64);
            code.cmp(offset, size / 16 * 64);
            code.jb(next);
        }

        if (size % 16 > 0)
        {
            EmitTile(true);
        }

        return kernel.Finish();

        void EmitTile(bool rest)
        {
            code.vmovups(zmm16, __zmmword_ptr[factors]);
            for (int i = 0; i < 16; i++)
            {
                code.vmulps(Zmm(i), zmm16, __zmmword_ptr[source + (64 * i)]);
            }

            code.add(source, 1024);
            AssemblerRegisterZMM[] columns = Transposition.Emit(code);
            for (int i = 0; i < 16; i++)
            {
                code.mov(row, __qword_ptr[rows + (8 * i)]);
                AssemblerMemoryOperand place = __zmmword_ptr[row + (offset * 1)];
                code.vmovups(!rest ? place : size % 32 < 16 ? place.k1 : place.k2, columns[i]);
            }
        }
    }

    /// <summary>k1, k2: which of the first and last 16 values of the last 32 there are; k3: which of all, as words.</summary>
    private static void EmitMasks(KernelAssembler kernel, TensorFormat format, int size)
    {
        int rest = size % 32;
        if (rest == 0)
        {
            return;
        }

        AssemblerRegister64 bits = kernel.Take();
        uint all = (1u << rest) - 1;
        kernel.Code.mov(bits, (ulong)all);
        if (format == TensorFormat.BF16)
        {
            kernel.Code.kmovd(k3, new AssemblerRegister32(bits.Value - Register.RAX + Register.EAX));
        }
        else
        {
            kernel.Code.kmovq(k1, bits);
            kernel.Code.shr(bits, 16);
            kernel.Code.kmovq(k2, bits);
        }

        kernel.Release(bits);
    }

    /// <summary>Loads up to 32 values of a row as bfloat16, zeros behind its end, without touching what lies there.</summary>
    private static void EmitLoad(Assembler code, TensorFormat format, AssemblerRegister64 row, int at, int size, AssemblerRegisterZMM result)
    {
        bool whole = size - at >= 32;
        switch (format)
        {
            case TensorFormat.BF16:
                code.vmovdqu16(whole ? result : result.k3.z, __zmmword_ptr[row + (2 * at)]);
                break;
            case TensorFormat.F16:
                code.vcvtph2ps(whole ? zmm16 : zmm16.k1.z, __ymmword_ptr[row + (2 * at)]);
                code.vcvtph2ps(whole ? zmm17 : zmm17.k2.z, __ymmword_ptr[row + ((2 * at) + 32)]);
                code.vcvtne2ps2bf16(result, zmm17, zmm16);
                break;
            default:
                code.vmovups(whole ? zmm16 : zmm16.k1.z, __zmmword_ptr[row + (4 * at)]);
                code.vmovups(whole ? zmm17 : zmm17.k2.z, __zmmword_ptr[row + ((4 * at) + 64)]);
                code.vcvtne2ps2bf16(result, zmm17, zmm16);
                break;
        }
    }

    private static AssemblerRegisterZMM Zmm(int number) => new(Register.ZMM0 + number);
}
