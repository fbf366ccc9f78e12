using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Antiphon.Kernels;

/// <summary>Puts rows of queries or outputs into lanes and back, four at a time. The bits are moved as they are, whatever they mean.</summary>
internal static unsafe class QueryColumns
{
    /// <summary>Writes four rows as four columns.</summary>
    public static void FromRows(float** rows, int size, float* columns, int stride)
    {
        int d = 0;
        for (; Sse.IsSupported && d + 4 <= size; d += 4)
        {
            Transpose(rows[0] + d, rows[1] + d, rows[2] + d, rows[3] + d, columns + ((long)d * stride), stride);
        }

        for (; d < size; d++)
        {
            for (int i = 0; i < 4; i++)
            {
                columns[((long)d * stride) + i] = rows[i][d];
            }
        }
    }

    /// <summary>Writes four columns as four rows.</summary>
    public static void ToRows(float* columns, int columnStride, int size, float* rows, int stride)
    {
        int d = 0;
        for (; Sse.IsSupported && d + 4 <= size; d += 4)
        {
            float* from = columns + ((long)d * columnStride);
            Transpose(from, from + columnStride, from + (2 * columnStride), from + (3 * columnStride), rows + d, stride);
        }

        for (; d < size; d++)
        {
            for (int i = 0; i < 4; i++)
            {
                rows[((long)i * stride) + d] = columns[((long)d * columnStride) + i];
            }
        }
    }

    private static void Transpose(float* a, float* b, float* c, float* d, float* to, long stride)
    {
        Vector128<float> v0 = Vector128.Load(a);
        Vector128<float> v1 = Vector128.Load(b);
        Vector128<float> v2 = Vector128.Load(c);
        Vector128<float> v3 = Vector128.Load(d);
        Vector128<float> low0 = Sse.UnpackLow(v0, v1);
        Vector128<float> low1 = Sse.UnpackLow(v2, v3);
        Vector128<float> high0 = Sse.UnpackHigh(v0, v1);
        Vector128<float> high1 = Sse.UnpackHigh(v2, v3);
        Sse.MoveLowToHigh(low0, low1).Store(to);
        Sse.MoveHighToLow(low1, low0).Store(to + stride);
        Sse.MoveLowToHigh(high0, high1).Store(to + (2 * stride));
        Sse.MoveHighToLow(high1, high0).Store(to + (3 * stride));
    }
}
