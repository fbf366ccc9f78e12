using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Antiphon.Kernels.Jit;

/// <summary>Transposes a 16 x 16 matrix of 32-bit elements in the vector registers.</summary>
internal static class Transposition
{
    private static readonly AssemblerRegisterZMM[] Low =
        [zmm0, zmm1, zmm2, zmm3, zmm4, zmm5, zmm6, zmm7, zmm8, zmm9, zmm10, zmm11, zmm12, zmm13, zmm14, zmm15];

    private static readonly AssemblerRegisterZMM[] High =
        [zmm16, zmm17, zmm18, zmm19, zmm20, zmm21, zmm22, zmm23, zmm24, zmm25, zmm26, zmm27, zmm28, zmm29, zmm30, zmm31];

    /// <summary>Takes the rows in zmm0..zmm15 and leaves the columns in the registers returned; all 32 registers change.</summary>
    /// <param name="code">Receives the instructions.</param>
    /// <param name="between">Called after each of the 64 instructions: may add others that use no vector register.</param>
    public static AssemblerRegisterZMM[] Emit(Assembler code, Action? between = null)
    {
        // Pairs of rows, then groups of four: High[4g + i] holds columns i, 4 + i, 8 + i, 12 + i of rows 4g .. 4g + 3.
        for (int i = 0; i < 16; i += 2)
        {
            code.vunpcklps(High[i], Low[i], Low[i + 1]);
            between?.Invoke();
            code.vunpckhps(High[i + 1], Low[i], Low[i + 1]);
            between?.Invoke();
        }

        for (int g = 0; g < 16; g += 4)
        {
            code.vunpcklpd(Low[g], High[g], High[g + 2]);
            between?.Invoke();
            code.vunpckhpd(Low[g + 1], High[g], High[g + 2]);
            between?.Invoke();
            code.vunpcklpd(Low[g + 2], High[g + 1], High[g + 3]);
            between?.Invoke();
            code.vunpckhpd(Low[g + 3], High[g + 1], High[g + 3]);
            between?.Invoke();
        }

        // The 128-bit parts: a 4 x 4 transposition for each i.
        for (int i = 0; i < 4; i++)
        {
            Shuffle(High[4 * i], Low[i], Low[4 + i], 0x88);
            Shuffle(High[(4 * i) + 1], Low[i], Low[4 + i], 0xDD);
            Shuffle(High[(4 * i) + 2], Low[8 + i], Low[12 + i], 0x88);
            Shuffle(High[(4 * i) + 3], Low[8 + i], Low[12 + i], 0xDD);
        }

        for (int i = 0; i < 4; i++)
        {
            Shuffle(Low[i], High[4 * i], High[(4 * i) + 2], 0x88);
            Shuffle(Low[8 + i], High[4 * i], High[(4 * i) + 2], 0xDD);
            Shuffle(Low[4 + i], High[(4 * i) + 1], High[(4 * i) + 3], 0x88);
            Shuffle(Low[12 + i], High[(4 * i) + 1], High[(4 * i) + 3], 0xDD);
        }

        return [.. Low];

        void Shuffle(AssemblerRegisterZMM to, AssemblerRegisterZMM a, AssemblerRegisterZMM b, byte parts)
        {
            code.vshuff32x4(to, a, b, parts);
            between?.Invoke();
        }
    }
}
