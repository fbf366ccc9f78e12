using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Antiphon.Kernels;

/// <summary>
/// The greatest of every <see cref="Length"/> neighbouring values of a row. Whoever looks for the few greatest values of a long row, such as a vocabulary's
/// logits, reads a sixteenth of it and then the blocks that matter.
/// </summary>
/// <remarks>A block that holds a value which is not a number has such a maximum, so that it is not overlooked.</remarks>
public static unsafe class BlockMaxima
{
    /// <summary>Values in a block; the last one may have fewer.</summary>
    public const int Length = 16;

    /// <summary>Blocks in a row of so many values.</summary>
    public static int Count(int values) => (int)(((long)values + Length - 1) / Length);

    /// <summary>Finds the maxima of a row.</summary>
    /// <param name="values">The row.</param>
    /// <param name="maxima">Receives <see cref="Count"/> values.</param>
    /// <exception cref="ArgumentException"><paramref name="maxima"/> is too short.</exception>
    public static void Find(ReadOnlySpan<float> values, Span<float> maxima)
    {
        maxima = maxima[..Count(values.Length)];
        int block = 0;
        fixed (float* from = values, to = maxima)
        {
            for (; Sse.IsSupported && (block + 4) * Length <= values.Length; block += 4)
            {
                OfFour(from + (block * Length), to + block);
            }
        }

        for (; block < maxima.Length; block++)
        {
            maxima[block] = Of(values[(block * Length)..]);
        }
    }

    /// <summary>The maxima of four whole blocks: in vectors of four lanes, which are then transposed.</summary>
    private static void OfFour(float* values, float* maxima)
    {
        Vector256<float> sum = Vector256<float>.Zero;
        Vector128<float> first = Four(values);
        Vector128<float> second = Four(values + Length);
        Vector128<float> third = Four(values + (2 * Length));
        Vector128<float> fourth = Four(values + (3 * Length));
        if (!Vector256.EqualsAll(sum, sum))
        {
            for (int block = 0; block < 4; block++)
            {
                maxima[block] = Of(new ReadOnlySpan<float>(values + (block * Length), Length));
            }

            return;
        }

        Vector128<float> low = Vector128.MaxNative(Sse.UnpackLow(first, second), Sse.UnpackHigh(first, second));
        Vector128<float> high = Vector128.MaxNative(Sse.UnpackLow(third, fourth), Sse.UnpackHigh(third, fourth));
        Vector128.MaxNative(Sse.MoveLowToHigh(low, high), Sse.MoveHighToLow(high, low)).Store(maxima);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        Vector128<float> Four(float* block)
        {
            Vector256<float> a = Vector256.Load(block);
            Vector256<float> b = Vector256.Load(block + 8);
            sum += a + b;
            a = Vector256.MaxNative(a, b);
            return Vector128.MaxNative(a.GetLower(), a.GetUpper());
        }
    }

    /// <summary>The greatest of at most <see cref="Length"/> values; minus infinity for none.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float Of(ReadOnlySpan<float> values)
    {
        if (values.Length < Length)
        {
            return Some(values);
        }

        Vector128<float> a = Vector128.Create(values), b = Vector128.Create(values[4..]), c = Vector128.Create(values[8..]), d = Vector128.Create(values[12..]);

        // Processors disagree about the greater of a number and of what is none; a sum tells whether there is such a value.
        // It may be one for infinities of both signs, too, so that the values themselves are asked then.
        Vector128<float> sum = a + b + (c + d);
        if (!Vector128.EqualsAll(sum, sum))
        {
            return Some(values[..Length]);
        }

        Vector128<float> most = Vector128.MaxNative(Vector128.MaxNative(a, b), Vector128.MaxNative(c, d));
        most = Vector128.MaxNative(most, Vector128.Shuffle(most, Vector128.Create(2, 3, 0, 1)));
        return Vector128.MaxNative(most, Vector128.Shuffle(most, Vector128.Create(1, 0, 3, 2))).ToScalar();
    }

    private static float Some(ReadOnlySpan<float> values)
    {
        float most = float.NegativeInfinity;
        foreach (float value in values)
        {
            most = Math.Max(most, value);
        }

        return most;
    }
}
