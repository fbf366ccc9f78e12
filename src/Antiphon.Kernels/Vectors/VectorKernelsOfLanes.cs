using System.Runtime.CompilerServices;

namespace Antiphon.Kernels;

/// <summary>The vector operations over one kind of lanes.</summary>
internal sealed unsafe class VectorKernels<T> : VectorKernels
    where T : unmanaged, ILanes<T>
{
    public override void RmsNorm(float* x, float* weight, float* y, int count, float epsilon, bool addOne)
    {
        float factor = 1f / MathF.Sqrt((Dot(x, x, count) / count) + epsilon);
        if (weight is null)
        {
            Map(new ScaleElements(factor), x, null, y, count);
        }
        else
        {
            Map(new NormalizeElements(0f, factor, addOne), x, weight, y, count);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void LayerNorm(float* x, float* weight, float* bias, float* y, int count, float epsilon)
    {
        float mean = Sum(x, count) / count;
        T shift = T.Broadcast(mean);
        T squares = T.Zero;
        int whole = count & ~15;
        for (int i = 0; i < whole; i += 16)
        {
            T difference = T.Load(x + i) - shift;
            squares = T.Fma(difference, difference, squares);
        }

        if (whole < count)
        {
            // Missing values equal the mean, so that they add nothing.
            T difference = Tail(x + whole, count - whole, mean) - shift;
            squares = T.Fma(difference, difference, squares);
        }

        float factor = 1f / MathF.Sqrt((squares.Sum() / count) + epsilon);
        if (weight is null)
        {
            Map(new NormalizeElements(mean, factor, true), x, null, y, count);
        }
        else
        {
            Map(new NormalizeElements(mean, factor, false), x, weight, y, count);
        }

        if (bias is not null)
        {
            Add(bias, y, count);
        }
    }

    public override void NormalizeL2(float* x, int count, float epsilon)
    {
        float norm = MathF.Sqrt(Dot(x, x, count));
        Scale(1f / (norm > epsilon ? norm : epsilon), x, count);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void Softmax(float* x, int count, float scale)
    {
        if (scale != 1f)
        {
            Scale(scale, x, count);
        }

        float greatest = Maximum(x, count);
        if (float.IsNegativeInfinity(greatest))
        {
            new Span<float>(x, count).Clear();
            return;
        }

        T shift = T.Broadcast(greatest);
        T sums = T.Zero;
        int whole = count & ~15;
        for (int i = 0; i < whole; i += 16)
        {
            T e = LaneMath<T>.Exp(T.Load(x + i) - shift);
            e.Store(x + i);
            sums += e;
        }

        if (whole < count)
        {
            T e = LaneMath<T>.Exp(Tail(x + whole, count - whole, float.NegativeInfinity) - shift);
            StoreTail(e, x + whole, count - whole);
            sums += e;
        }

        Scale(1f / sums.Sum(), x, count);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override float Dot(float* x, float* y, int count)
    {
        T sums = T.Zero;
        int whole = count & ~15;
        for (int i = 0; i < whole; i += 16)
        {
            sums = T.Fma(T.Load(x + i), T.Load(y + i), sums);
        }

        if (whole < count)
        {
            sums = T.Fma(Tail(x + whole, count - whole, 0f), Tail(y + whole, count - whole, 0f), sums);
        }

        return sums.Sum();
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override float Sum(float* x, int count)
    {
        T sums = T.Zero;
        int whole = count & ~15;
        for (int i = 0; i < whole; i += 16)
        {
            sums += T.Load(x + i);
        }

        if (whole < count)
        {
            sums += Tail(x + whole, count - whole, 0f);
        }

        return sums.Sum();
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override float Maximum(float* x, int count)
    {
        T greatest = T.Broadcast(float.NegativeInfinity);
        int whole = count & ~15;
        for (int i = 0; i < whole; i += 16)
        {
            greatest = T.Max(T.Load(x + i), greatest);
        }

        if (whole < count)
        {
            greatest = T.Max(Tail(x + whole, count - whole, float.NegativeInfinity), greatest);
        }

        return greatest.Maximum();
    }

    public override void Add(float* x, float* y, int count) => Map(default(AddElements), x, y, y, count);

    public override void AddScaled(float factor, float* x, float* y, int count) => Map(new AddScaledElements(factor), y, x, y, count);

    public override void Multiply(float* x, float* y, int count) => Map(default(MultiplyElements), x, y, y, count);

    public override void Scale(float factor, float* x, int count) => Map(new ScaleElements(factor), x, null, x, count);

    public override void Exp(float* x, int count) => Map(default(ExpElements), x, null, x, count);

    public override void Sigmoid(float* x, int count) => Map(default(SigmoidElements), x, null, x, count);

    public override void Softplus(float* x, int count)
    {
        for (int i = 0; i < count; i++)
        {
            double value = x[i];
            x[i] = (float)(value > 36 ? value : value < -18 ? Math.Exp(value) : Math.Log(1 + Math.Exp(value)));
        }
    }

    public override void Tanh(float* x, int count) => Map(default(TanhElements), x, null, x, count);

    public override void SoftCap(float cap, float* x, int count) => Map(new SoftCapElements(cap), x, null, x, count);

    public override void Activate(Activation activation, float* x, int count)
    {
        switch (activation)
        {
            case Activation.Silu:
                Map(default(SiluElements), x, null, x, count);
                break;
            case Activation.Gelu:
                Map(default(GeluErfElements), x, null, x, count);
                break;
            case Activation.GeluTanh:
                Map(default(GeluTanhElements), x, null, x, count);
                break;
            case Activation.Relu:
                Map(default(ReluElements), x, null, x, count);
                break;
            case Activation.ReluSquared:
                Map(default(ReluSquaredElements), x, null, x, count);
                break;
            case Activation.Sigmoid:
                Map(default(SigmoidElements), x, null, x, count);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(activation), activation, "not an activation");
        }
    }

    public override void Gate(Activation activation, float* gate, float* up, float* y, int count)
    {
        switch (activation)
        {
            case Activation.Silu:
                Map(default(SiluGateElements), gate, up, y, count);
                break;
            case Activation.Gelu:
                Map(default(GeluErfGateElements), gate, up, y, count);
                break;
            case Activation.GeluTanh:
                Map(default(GeluTanhGateElements), gate, up, y, count);
                break;
            case Activation.Relu:
                Map(default(ReluGateElements), gate, up, y, count);
                break;
            case Activation.ReluSquared:
                Map(default(ReluSquaredGateElements), gate, up, y, count);
                break;
            case Activation.Sigmoid:
                Map(default(SigmoidGateElements), gate, up, y, count);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(activation), activation, "not an activation");
        }
    }

    public override void ClampedSwiglu(float alpha, float limit, float* gate, float* up, float* y, int count) =>
        Map(new ClampedSwigluElements(alpha, limit), gate, up, y, count);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void RotateHalves(float* x, int heads, int stride, float* cosines, float* sines, int rotary)
    {
        int half = rotary / 2;
        for (int head = 0; head < heads; head++)
        {
            float* low = x + ((long)head * stride);
            float* high = low + half;
            int i = 0;
            for (; i + 16 <= half; i += 16)
            {
                T a = T.Load(low + i);
                T b = T.Load(high + i);
                T cosine = T.Load(cosines + i);
                T sine = T.Load(sines + i);
                T.Fma(-b, sine, a * cosine).Store(low + i);
                T.Fma(a, sine, b * cosine).Store(high + i);
            }

            for (; i < half; i++)
            {
                (low[i], high[i]) = Rotate(low[i], high[i], cosines[i], sines[i]);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void RotatePairs(float* x, int heads, int stride, float* cosines, float* sines, int rotary)
    {
        int half = rotary / 2;
        float* signs = stackalloc float[16] { -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1 };
        T alternating = T.Load(signs);
        for (int head = 0; head < heads; head++)
        {
            float* row = x + ((long)head * stride);
            int i = 0;
            for (; i + 8 <= half; i += 8)
            {
                T values = T.Load(row + (2 * i));
                T.Fma(T.SwapPairs(values), T.LoadTwice(sines + i) * alternating, values * T.LoadTwice(cosines + i)).Store(row + (2 * i));
            }

            for (; i < half; i++)
            {
                (row[2 * i], row[(2 * i) + 1]) = Rotate(row[2 * i], row[(2 * i) + 1], cosines[i], sines[i]);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override int TopK(float* x, int count, Span<int> indices)
    {
        int wanted = Math.Min(count, indices.Length);
        int found = 0;
        T least = T.Broadcast(float.NegativeInfinity);
        for (int start = 0; start < count && wanted > 0; start += 16)
        {
            int end = Math.Min(count, start + 16);
            if (found == wanted && end == start + 16 && !T.AnyGreater(T.Load(x + start), least))
            {
                continue;
            }

            for (int i = start; i < end; i++)
            {
                float value = Key(x[i]);
                if (found == wanted && !(value > Key(x[indices[wanted - 1]])))
                {
                    continue;
                }

                // Insertion into the sorted result: k is small, and entries become rare as the threshold rises.
                int place = found == wanted ? wanted - 1 : found++;
                for (; place > 0 && value > Key(x[indices[place - 1]]); place--)
                {
                    indices[place] = indices[place - 1];
                }

                indices[place] = i;
            }

            if (found == wanted)
            {
                least = T.Broadcast(Key(x[indices[wanted - 1]]));
            }
        }

        return wanted;

        static float Key(float value) => float.IsNaN(value) ? float.NegativeInfinity : value;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void FromHalf(Half* x, float* y, int count)
    {
        int i = 0;
        for (; i + 16 <= count; i += 16)
        {
            T.LoadHalf((ushort*)x + i).Store(y + i);
        }

        for (; i < count; i++)
        {
            y[i] = (float)x[i];
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void FromBFloat16(ushort* x, float* y, int count)
    {
        int i = 0;
        for (; i + 16 <= count; i += 16)
        {
            T.LoadBFloat16(x + i).Store(y + i);
        }

        for (; i < count; i++)
        {
            y[i] = BitConverter.UInt32BitsToSingle((uint)x[i] << 16);
        }
    }

    private static (float Low, float High) Rotate(float a, float b, float cosine, float sine) =>
        (MathF.FusedMultiplyAdd(-b, sine, a * cosine), MathF.FusedMultiplyAdd(a, sine, b * cosine));

    /// <summary>y[i] = op(a[i], b[i]); a null b reads as zeros.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Map<TOp>(TOp op, float* a, float* b, float* y, int count)
        where TOp : struct, IElementwise
    {
        int whole = count & ~15;
        if (b is null)
        {
            for (int i = 0; i < whole; i += 16)
            {
                op.Apply(T.Load(a + i), T.Zero).Store(y + i);
            }
        }
        else
        {
            for (int i = 0; i < whole; i += 16)
            {
                op.Apply(T.Load(a + i), T.Load(b + i)).Store(y + i);
            }
        }

        if (whole < count)
        {
            int rest = count - whole;
            StoreTail(op.Apply(Tail(a + whole, rest, 0f), b is null ? T.Zero : Tail(b + whole, rest, 0f)), y + whole, rest);
        }
    }

    /// <summary>Fewer than sixteen values, with a filling behind them.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static T Tail(float* x, int count, float filling)
    {
        float* lanes = stackalloc float[16];
        for (int i = 0; i < 16; i++)
        {
            lanes[i] = i < count ? x[i] : filling;
        }

        return T.Load(lanes);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void StoreTail(T value, float* y, int count)
    {
        float* lanes = stackalloc float[16];
        value.Store(lanes);
        for (int i = 0; i < count; i++)
        {
            y[i] = lanes[i];
        }
    }
}
