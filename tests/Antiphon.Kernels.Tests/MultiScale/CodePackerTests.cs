using Antiphon.Kernels.MultiScale;

namespace Antiphon.Kernels.Tests.MultiScale;

public sealed unsafe class CodePackerTests
{
    public static TheoryData<KernelTier, TensorFormat> TiersAndFormats => CodeMatrixTests.TiersAndFormats;

    /// <summary>Any bytes, also such as no encoder writes, in rows of any number at any address.</summary>
    [Theory]
    [MemberData(nameof(TiersAndFormats))]
    public void Every_tier_and_team_packs_the_same_bytes(KernelTier tier, TensorFormat format)
    {
        if (tier > CpuFeatures.Current.BestTier)
        {
            Assert.Skip($"this machine has no {tier}");
        }

        Random random = new((int)format);
        CodeLayout layout = CodeLayout.Find(format)!;
        using ComputeTeam alone = new(1);
        using ComputeTeam three = new(3);
        foreach (int rows in new[] { 1, 15, 16, 17, 48, 50, random.Next(100, 1000) })
        {
            foreach (int blocks in new[] { 1, 2, 3, 8, random.Next(10, 40) })
            {
                int columns = blocks * format.BlockElements();
                long length = rows * format.ByteCount(columns);
                using GuardedMemory source = new(length);
                random.NextBytes(new Span<byte>(source.Pointer, (int)length));
                int strips = (rows + CodeLayout.StripRows - 1) / CodeLayout.StripRows;
                long packed = strips * layout.StripBytes(columns);
                using GuardedMemory defined = new(packed);
                using GuardedMemory made = new(packed);
                CodePacker.Pack(layout, rows, columns, source.Pointer, defined.Pointer, alone, KernelTier.Portable);
                CodePacker.Pack(layout, rows, columns, source.Pointer, made.Pointer, three, tier);
                Assert.True(new Span<byte>(defined.Pointer, (int)packed).SequenceEqual(new Span<byte>(made.Pointer, (int)packed)), $"{rows} x {columns}");
            }
        }
    }

    /// <summary>Rows that are missing have codes of zero (signed bytes: the lowest) and scales of zero.</summary>
    [Theory]
    [MemberData(nameof(TiersAndFormats))]
    public void Missing_rows_weigh_nothing(KernelTier tier, TensorFormat format)
    {
        if (tier > CpuFeatures.Current.BestTier)
        {
            Assert.Skip($"this machine has no {tier}");
        }

        CodeLayout layout = CodeLayout.Find(format)!;
        int columns = 2 * format.BlockElements();
        using ComputeTeam team = StaleTeam.Of(1);
        byte[] bytes = new byte[format.ByteCount(columns) * 3];
        new Random(5).NextBytes(bytes);
        using NativeBuffer<byte> strip = new(layout.StripBytes(columns));
        fixed (byte* data = bytes)
        {
            CodePacker.Pack(layout, 3, columns, data, strip.Pointer, team, tier);
        }

        for (int row = 3; row < CodeLayout.StripRows; row++)
        {
            for (int column = 0; column < columns; column++)
            {
                Assert.Equal(layout.Table is null ? -layout.Offset : layout.Table[0], layout.Value(strip.Pointer, columns, row, column));
            }
        }
    }
}
