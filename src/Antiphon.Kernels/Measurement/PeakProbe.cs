using System.Diagnostics;
using Antiphon.Kernels.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels;

/// <summary>Measures, with generated code, what the units that matrix kernels use can do at best on this machine.</summary>
/// <exception cref="CodeGenerationException">Constructing one: the system denies generated code.</exception>
public sealed unsafe class PeakProbe : IDisposable
{
    private const int Repeats = 20_000;
    private const int ReadChunk = 1 << 20;
    private const int TileBytes = 1024;

    private readonly GeneratedCode? tilesBFloat16;
    private readonly GeneratedCode? tilesInt8;
    private readonly GeneratedCode dotBFloat16;
    private readonly GeneratedCode multiplyAdd;
    private readonly GeneratedCode read;
    private readonly NativeBuffer<byte> operands = new(4 * TileBytes);

    /// <summary>Generates the probes. Needs AVX-512 with bfloat16.</summary>
    public PeakProbe()
    {
        if (!CpuFeatures.Current.HasAvx512BFloat16)
        {
            throw new CodeGenerationException("the probes need AVX-512 with bfloat16 dot products");
        }

        if (CpuFeatures.Current.HasAmx)
        {
            AmxTiles.RequestPermission();
            tilesBFloat16 = Tiles((code, sum, a, b) => code.tdpbf16ps(sum, a, b));
            tilesInt8 = Tiles((code, sum, a, b) => code.tdpbssd(sum, a, b));
        }

        // Ordinary numbers: bytes of either sign, and bfloat16 numbers between 1/512 and 2. Tiles that were only cleared are multiplied at full speed
        // even while the processor holds the others back to half, as it does for seconds at a time: no product of weights could reach that.
        Random random = new(1);
        for (int i = 0; i < operands.Length; i += 2)
        {
            operands.Pointer[i] = (byte)random.Next(256);
            operands.Pointer[i + 1] = (byte)((random.Next(2) << 7) | 0x3B | (random.Next(2) << 2));
        }

        dotBFloat16 = Vectors((code, sum) => code.vdpbf16ps(sum, zmm30, zmm31));
        multiplyAdd = Vectors((code, sum) => code.vfmadd231ps(sum, zmm30, zmm31));
        read = Reads();
    }

    /// <summary>Bfloat16 operations per second in AMX tiles (a product and a sum are two); 0 without AMX.</summary>
    public double MeasureTilesBFloat16(ComputeTeam team) => tilesBFloat16 is null ? 0 : Measure(tilesBFloat16, team, 4.0 * 2 * 16 * 16 * 32);

    /// <summary>Int8 operations per second in AMX tiles; 0 without AMX.</summary>
    public double MeasureTilesInt8(ComputeTeam team) => tilesInt8 is null ? 0 : Measure(tilesInt8, team, 4.0 * 2 * 16 * 16 * 64);

    /// <summary>Bfloat16 operations per second of 512-bit dot products.</summary>
    public double MeasureDotBFloat16(ComputeTeam team) => Measure(dotBFloat16, team, 24.0 * 2 * 32);

    /// <summary>Float32 operations per second of 512-bit fused multiply-adds.</summary>
    public double MeasureMultiplyAdd(ComputeTeam team) => Measure(multiplyAdd, team, 24.0 * 2 * 16);

    /// <summary>Bytes per second that the team reads from <paramref name="buffer"/>, which should be much larger than the caches.</summary>
    public double MeasureRead(ComputeTeam team, NativeBuffer<byte> buffer) => MeasureRead(team, buffer.Pointer, buffer.Length);

    /// <summary>Bytes per second that the team reads from some memory, of which whole megabytes count.</summary>
    public double MeasureRead(ComputeTeam team, byte* start, long length)
    {
        ProbeWork work = new() { Code = read, Buffer = start };
        int chunks = (int)(length / ReadChunk);
        return (double)chunks * ReadChunk / Time(work, team, chunks);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        tilesBFloat16?.Dispose();
        tilesInt8?.Dispose();
        dotBFloat16.Dispose();
        multiplyAdd.Dispose();
        read.Dispose();
        operands.Dispose();
    }

    private double Measure(GeneratedCode code, ComputeTeam team, double operations)
    {
        ProbeWork work = new() { Code = code, Operands = operands.Pointer };
        int chunks = 4 * team.Size;
        return chunks * operations * Repeats / Time(work, team, chunks);
    }

    private static double Time(ProbeWork work, ComputeTeam team, int chunks)
    {
        long start = Stopwatch.GetTimestamp();
        team.Run(ref work, chunks);
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    private static GeneratedCode Tiles(Action<Assembler, AssemblerRegisterTMM, AssemblerRegisterTMM, AssemblerRegisterTMM> emit) =>
        Loop(
            kernel =>
            {
                AssemblerRegister64 config = kernel.TakeArgument(1);
                AssemblerRegister64 operands = kernel.TakeArgument(2);
                AssemblerRegister64 stride = kernel.Take();
                kernel.Code.ldtilecfg(__[config]);
                kernel.Code.mov(stride, 64);
                for (int tile = 0; tile < 4; tile++)
                {
                    kernel.Code.tilezero(new AssemblerRegisterTMM(Register.TMM0 + tile));
                    kernel.Code.tileloadd(new AssemblerRegisterTMM(Register.TMM4 + tile), __[operands + (stride * 1) + (TileBytes * tile)]);
                }
            },
            code =>
            {
                emit(code, tmm0, tmm4, tmm6);
                emit(code, tmm1, tmm5, tmm6);
                emit(code, tmm2, tmm4, tmm7);
                emit(code, tmm3, tmm5, tmm7);
            },
            code => code.tilerelease());

    private static GeneratedCode Vectors(Action<Assembler, AssemblerRegisterZMM> emit) =>
        Loop(
            kernel =>
            {
                for (int register = 0; register < 32; register++)
                {
                    AssemblerRegisterZMM zmm = new(Register.ZMM0 + register);
                    kernel.Code.vpxord(zmm, zmm, zmm);
                }
            },
            code =>
            {
                for (int register = 0; register < 24; register++)
                {
                    emit(code, new AssemblerRegisterZMM(Register.ZMM0 + register));
                }
            },
            _ => { });

    private static GeneratedCode Loop(Action<KernelAssembler> begin, Action<Assembler> body, Action<Assembler> end)
    {
        KernelAssembler kernel = new();
        Assembler code = kernel.Code;
        AssemblerRegister64 left = kernel.TakeArgument(0);
        begin(kernel);
        Label next = code.CreateLabel();
        code.Label(ref next);
        body(code);
        code.dec(left);
        code.jnz(next);
        end(code);
        return kernel.Finish();
    }

    private static GeneratedCode Reads()
    {
        KernelAssembler kernel = new();
        Assembler code = kernel.Code;
        AssemblerRegister64 left = kernel.TakeArgument(0);
        AssemblerRegister64 at = kernel.TakeArgument(1);
        Label next = code.CreateLabel();
        code.Label(ref next);
        for (int line = 0; line < 8; line++)
        {
            code.prefetcht0(__byte_ptr[at + (4096 + (64 * line))]);
        }

        for (int line = 0; line < 8; line++)
        {
            code.vmovups(new AssemblerRegisterZMM(Register.ZMM0 + line), __zmmword_ptr[at + (64 * line)]);
        }

        code.add(at, 512);
        code.dec(left);
        code.jnz(next);
        return kernel.Finish();
    }

    private struct ProbeArguments
    {
        public nint Repeats;
        public void* Memory;
        public byte* Operands;
    }

    private struct ProbeWork : IParallelWork
    {
        public GeneratedCode Code;
        public byte* Buffer;
        public byte* Operands;

        public readonly void Execute(int chunk, int worker)
        {
            TileConfig config = default;
            for (int tile = 0; tile < 8; tile++)
            {
                config.Set(tile, 16, 64);
            }

            ProbeArguments arguments = new()
            {
                Repeats = Buffer is null ? Repeats : ReadChunk / 512,
                Memory = Buffer is null ? &config : Buffer + ((long)chunk * ReadChunk),
                Operands = Operands,
            };
            Code.Run(&arguments);
        }
    }
}
