using System.Runtime.InteropServices;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.Jit;

/// <summary>
/// Writes one kernel: a function that takes the address of an argument block and returns nothing. General registers are handed out by name,
/// constants are collected in a pool beside the code, and the calling convention is that of the machine the process runs on.
/// </summary>
/// <remarks>Vector and mask registers are all free to the kernel: what the convention wants kept is saved on entry.</remarks>
internal sealed class KernelAssembler
{
    private static readonly AssemblerRegister64[] Kept = OperatingSystem.IsWindows() ? [rbx, rbp, r12, r13, r14, r15, rsi, rdi] : [rbx, rbp, r12, r13, r14, r15];
    private static readonly AssemblerRegisterXMM[] KeptVectors = OperatingSystem.IsWindows() ? [xmm6, xmm7, xmm8, xmm9, xmm10, xmm11, xmm12, xmm13, xmm14, xmm15] : [];

    private readonly Stack<AssemblerRegister64> free = new([rbx, rbp, r12, r13, r14, r15, r11, r10, r9, r8, rsi, rcx, rdx, rax]);
    private readonly List<byte> pool = [];
    private readonly Dictionary<string, int> poolIndex = [];

    /// <summary>Begins a kernel.</summary>
    public KernelAssembler()
    {
        foreach (AssemblerRegister64 register in Kept)
        {
            Code.push(register);
        }

        if (KeptVectors.Length > 0)
        {
            Code.sub(rsp, 16 * KeptVectors.Length);
            for (int i = 0; i < KeptVectors.Length; i++)
            {
                Code.vmovdqu(__[rsp + (16 * i)], KeptVectors[i]);
            }
        }

        if (OperatingSystem.IsWindows())
        {
            Code.mov(rdi, rcx);
        }

        Constants = Take();
        Code.mov(Constants, PoolPlaceholder);
    }

    /// <summary>The instructions.</summary>
    public Assembler Code { get; } = new(64);

    /// <summary>Holds the address of the argument block.</summary>
    public AssemblerRegister64 Arguments => rdi;

    /// <summary>Holds the address of the constants.</summary>
    private AssemblerRegister64 Constants { get; }

    // Replaced by the pool's address once that is known; chosen so that the encoder takes the 8-byte form.
    private static ulong PoolPlaceholder => 0x1122334455667788;

    /// <summary>A general register that nothing else uses.</summary>
    public AssemblerRegister64 Take() => free.Count > 0 ? free.Pop() : throw new InvalidOperationException("the kernel uses more general registers than there are");

    /// <summary>A register loaded with a field of the argument block.</summary>
    /// <param name="field">Index of the 8-byte field.</param>
    public AssemblerRegister64 TakeArgument(int field)
    {
        AssemblerRegister64 register = Take();
        Code.mov(register, Argument(field));
        return register;
    }

    /// <summary>A field of the argument block.</summary>
    public AssemblerMemoryOperand Argument(int field) => __qword_ptr[Arguments + (8 * field)];

    /// <summary>Gives a register back.</summary>
    public void Release(AssemblerRegister64 register) => free.Push(register);

    /// <summary>Adds products of 16-bit pairs to sums (VPDPWSSD). AVX-VNNI and AVX-512 encode it differently.</summary>
    public void AddPairs(AssemblerRegisterYMM sums, AssemblerRegisterYMM first, AssemblerRegisterYMM second) =>
        (CpuFeatures.Current.HasAvxVnni ? Code.vex : Code.evex).vpdpwssd(sums, first, second);

    /// <summary>A constant vector of 16 floats.</summary>
    public AssemblerMemoryOperand Floats(Func<int, float> lane) => Vector(i => BitConverter.SingleToUInt32Bits(lane(i)));

    /// <summary>A constant vector of 32 16-bit words.</summary>
    public AssemblerMemoryOperand Words(Func<int, int> lane) => Vector(i => (uint)(ushort)lane(2 * i) | ((uint)lane((2 * i) + 1) << 16));

    /// <summary>A constant vector of 64 bytes.</summary>
    public AssemblerMemoryOperand Bytes(Func<int, int> lane) =>
        Vector(i => (byte)lane(4 * i) | ((uint)(byte)lane((4 * i) + 1) << 8) | ((uint)(byte)lane((4 * i) + 2) << 16) | ((uint)(byte)lane((4 * i) + 3) << 24));

    /// <summary>A constant vector of 16 dwords.</summary>
    public AssemblerMemoryOperand Vector(Func<int, uint> lane)
    {
        uint[] lanes = new uint[16];
        for (int i = 0; i < 16; i++)
        {
            lanes[i] = lane(i);
        }

        ReadOnlySpan<byte> bytes = MemoryMarshal.AsBytes<uint>(lanes);
        string key = Convert.ToHexString(bytes);
        if (!poolIndex.TryGetValue(key, out int offset))
        {
            offset = pool.Count;
            poolIndex.Add(key, offset);
            pool.AddRange(bytes);
        }

        return __zmmword_ptr[Constants + offset];
    }

    /// <summary>Ends the kernel and makes it callable.</summary>
    /// <exception cref="CodeGenerationException">The system denies executable memory.</exception>
    public GeneratedCode Finish()
    {
        Code.vzeroupper();
        if (KeptVectors.Length > 0)
        {
            for (int i = 0; i < KeptVectors.Length; i++)
            {
                Code.vmovdqu(KeptVectors[i], __[rsp + (16 * i)]);
            }

            Code.add(rsp, 16 * KeptVectors.Length);
        }

        foreach (AssemblerRegister64 register in Kept.Reverse())
        {
            Code.pop(register);
        }

        Code.ret();
        using MemoryStream stream = new();
        Code.Assemble(new StreamCodeWriter(stream), 0);
        return new GeneratedCode(stream.ToArray(), PoolPlaceholder, CollectionsMarshal.AsSpan(pool));
    }
}
