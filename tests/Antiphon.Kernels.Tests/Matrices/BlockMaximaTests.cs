namespace Antiphon.Kernels.Tests.Matrices;

public sealed unsafe class BlockMaximaTests
{
    [Fact]
    public void A_maximum_is_the_greatest_of_its_block()
    {
        Random random = new(1);
        for (int count = 0; count < 100; count++)
        {
            float[] values = [.. Enumerable.Range(0, count).Select(_ => (float)(random.NextDouble() - 0.5))];
            for (int i = 0; i < count / 8; i++)
            {
                values[random.Next(count)] = random.Next(4) switch { 0 => float.NegativeInfinity, 1 => float.PositiveInfinity, 2 => float.NaN, _ => float.MaxValue };
            }

            var maxima = new float[BlockMaxima.Count(count) + 1];
            maxima[^1] = 123;
            BlockMaxima.Find(values, maxima);
            Assert.Equal([.. values.Chunk(16).Select(block => block.Any(float.IsNaN) ? float.NaN : block.Max()), 123], maxima);
        }
    }

    [Fact]
    public void Infinities_of_both_signs_are_numbers()
    {
        float[] values = new float[16];
        values[3] = float.NegativeInfinity;
        values[7] = float.PositiveInfinity;
        var maxima = new float[1];
        BlockMaxima.Find(values, maxima);
        Assert.Equal(float.PositiveInfinity, maxima[0]);
        Array.Fill(values, float.NegativeInfinity);
        BlockMaxima.Find(values, maxima);
        Assert.Equal(float.NegativeInfinity, maxima[0]);
    }

    /// <summary>What a product should leave beside its outputs.</summary>
    public static float[] Of(NativeBuffer<float> outputs, int rows, int count) =>
        [.. Enumerable.Range(0, count).SelectMany(i => outputs.Span((long)i * rows, rows).ToArray().Chunk(BlockMaxima.Length).Select(block => block.Any(float.IsNaN) ? float.NaN : block.Max()))];
}
