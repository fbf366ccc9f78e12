using System.Runtime.Intrinsics;
using Antiphon.Kernels.Integers;

namespace Antiphon.Kernels;

/// <summary>
/// Operations on rows of float32 values. Sums are formed in sixteen lanes (lane = index mod 16), each with rising index, and a fixed tree over the
/// lanes, with products fused into their sums; so all tiers give the same bits, and a row's result depends on that row alone.
/// </summary>
/// <remarks>
/// Pointers need no alignment. A result may be written over an operand, but not over a part of it that is shifted. Elementary functions are within
/// 4 ulp of the true value (GELU, whose negative tail is ill-conditioned, within 24 and its tanh form within 48 down to -5); nothing allocates;
/// counts are not negative.
/// </remarks>
public abstract unsafe class VectorKernels
{
    private static readonly Lazy<VectorKernels> Chosen = new(() => For(CpuFeatures.DefaultTier));
    private static readonly VectorKernels Portable = new VectorKernels<LanesPortable>();
    private static readonly VectorKernels Wide = CpuFeatures.Current.BestTier >= KernelTier.Avx2 ? new VectorKernels<Lanes256>() : Portable;
    private static readonly VectorKernels Widest = CpuFeatures.Current.BestTier >= KernelTier.Avx512 ? new VectorKernels<Lanes512>() : Wide;

    private protected VectorKernels()
    {
    }

    /// <summary>The kernels of <see cref="CpuFeatures.DefaultTier"/>.</summary>
    public static VectorKernels Default => Chosen.Value;

    /// <summary>The kernels of a tier.</summary>
    /// <exception cref="ArgumentException">This machine does not have the tier.</exception>
    public static VectorKernels For(KernelTier tier) => CpuFeatures.Resolve(tier) switch
    {
        KernelTier.Portable => Portable,
        KernelTier.Avx2 => Wide,
        _ => Widest,
    };

    /// <summary>y = x / sqrt(mean(x²) + epsilon) * weight.</summary>
    /// <param name="x">The row.</param>
    /// <param name="weight">A weight per value, or null for none.</param>
    /// <param name="y">Receives the row; may be x.</param>
    /// <param name="count">Values in the row.</param>
    /// <param name="epsilon">Added to the mean square.</param>
    /// <param name="addOne">Whether the factor is 1 + weight.</param>
    public abstract void RmsNorm(float* x, float* weight, float* y, int count, float epsilon, bool addOne = false);

    /// <summary>y = (x - mean(x)) / sqrt(variance(x) + epsilon) * weight + bias; weight and bias may be null.</summary>
    public abstract void LayerNorm(float* x, float* weight, float* bias, float* y, int count, float epsilon);

    /// <summary>x = x / max(norm, epsilon), the norm being the square root of the sum of squares.</summary>
    public abstract void NormalizeL2(float* x, int count, float epsilon);

    /// <summary>x = e^(scale * x - m) / sum, m being the greatest scaled value. A row of minus infinities becomes zeros.</summary>
    public abstract void Softmax(float* x, int count, float scale = 1f);

    /// <summary>Sum of x * y.</summary>
    public abstract float Dot(float* x, float* y, int count);

    /// <summary>Sum of x.</summary>
    public abstract float Sum(float* x, int count);

    /// <summary>The greatest value; minus infinity for none. What is not a number does not count.</summary>
    public abstract float Maximum(float* x, int count);

    /// <summary>y = x + y.</summary>
    public abstract void Add(float* x, float* y, int count);

    /// <summary>y = y + factor * x, rounded once.</summary>
    public abstract void AddScaled(float factor, float* x, float* y, int count);

    /// <summary>y = x * y.</summary>
    public abstract void Multiply(float* x, float* y, int count);

    /// <summary>x = factor * x.</summary>
    public abstract void Scale(float factor, float* x, int count);

    /// <summary>x = e^x.</summary>
    public abstract void Exp(float* x, int count);

    /// <summary>x = 1 / (1 + e^-x).</summary>
    public abstract void Sigmoid(float* x, int count);

    /// <summary>x = ln(1 + e^x). Computed in double precision by the same scalar code on every tier.</summary>
    public abstract void Softplus(float* x, int count);

    /// <summary>x = tanh(x).</summary>
    public abstract void Tanh(float* x, int count);

    /// <summary>x = cap * tanh(x / cap).</summary>
    public abstract void SoftCap(float cap, float* x, int count);

    /// <summary>x = activation(x).</summary>
    public abstract void Activate(Activation activation, float* x, int count);

    /// <summary>y = activation(gate) * up; y may be gate or up.</summary>
    public abstract void Gate(Activation activation, float* gate, float* up, float* y, int count);

    /// <summary>The gate of gpt-oss: g = min(gate, limit), u = clamp(up, -limit, limit), y = g * sigmoid(alpha * g) * (u + 1).</summary>
    public abstract void ClampedSwiglu(float alpha, float limit, float* gate, float* up, float* y, int count);

    /// <summary>Rotates the first <paramref name="rotary"/> values of each head: value i with value i + rotary / 2, by angle i.</summary>
    /// <param name="x">The first head.</param>
    /// <param name="heads">Number of heads.</param>
    /// <param name="stride">Distance between the starts of two heads, in floats.</param>
    /// <param name="cosines">rotary / 2 cosines of this position.</param>
    /// <param name="sines">rotary / 2 sines.</param>
    /// <param name="rotary">How many values of a head are rotated; even.</param>
    public abstract void RotateHalves(float* x, int heads, int stride, float* cosines, float* sines, int rotary);

    /// <summary>Rotates the first <paramref name="rotary"/> values of each head: value 2i with value 2i + 1, by angle i. Same bits as the other form.</summary>
    public abstract void RotatePairs(float* x, int heads, int stride, float* cosines, float* sines, int rotary);

    /// <summary>Index of the greatest value, the first of equals; 0 when nothing is greater than minus infinity.</summary>
    public int ArgMax(float* x, int count) => Math.Max(0, new ReadOnlySpan<float>(x, count).IndexOf(Maximum(x, count)));

    /// <summary>Finds the greatest values, in falling order, equals by rising index. What is not a number counts as minus infinity.</summary>
    /// <param name="x">The row.</param>
    /// <param name="count">Values in the row.</param>
    /// <param name="indices">Receives the indices; as many as are wanted.</param>
    /// <returns>How many were found: the lesser of the wanted number and the number of values.</returns>
    public abstract int TopK(float* x, int count, Span<int> indices);

    /// <summary>Float32 to half precision, rounded to nearest even. The same scalar code on every tier.</summary>
    public void ToHalf(float* x, Half* y, int count)
    {
        for (int i = 0; i < count; i++)
        {
            y[i] = (Half)x[i];
        }
    }

    /// <summary>Float32 to bfloat16 (the upper 16 bits), rounded to nearest even. The same code on every tier.</summary>
    public void ToBFloat16(float* x, ushort* y, int count)
    {
        int i = 0;
        for (; i <= count - 16; i += 16)
        {
            Vector256.Narrow(Rounded(x + i), Rounded(x + i + 8)).Store(y + i);
        }

        for (; i < count; i++)
        {
            uint bits = BitConverter.SingleToUInt32Bits(x[i]);
            y[i] = (ushort)(float.IsNaN(x[i]) ? (bits >> 16) | 0x40 : (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
        }

        static Vector256<uint> Rounded(float* x)
        {
            Vector256<float> values = Vector256.Load(x);
            Vector256<uint> bits = values.AsUInt32();
            Vector256<uint> upper = bits >>> 16;
            Vector256<uint> nearest = (bits + Vector256.Create(0x7FFFu) + (upper & Vector256<uint>.One)) >>> 16;
            return Vector256.ConditionalSelect(Vector256.Equals(values, values).AsUInt32(), nearest, upper | Vector256.Create(0x40u));
        }
    }

    /// <summary>
    /// Float32 to integers that are multiplied with one scale: rounded to nearest, the greatest magnitude becoming <paramref name="limit"/>.
    /// What is not finite counts as the greatest finite number of its sign; a row below 1e-30 becomes zeros. The same code on every tier.
    /// </summary>
    /// <param name="x">The row.</param>
    /// <param name="y">Receives the integers.</param>
    /// <param name="count">Values in the row.</param>
    /// <param name="limit">Greatest magnitude, at most 32767.</param>
    /// <returns>The scale.</returns>
    public float ToIntegers(float* x, short* y, int count, int limit)
    {
        const uint mostFinite = 0x7F7FFFFF;
        Vector256<uint> most = Vector256<uint>.Zero;
        int i = 0;
        for (; i <= count - 8; i += 8)
        {
            most = Vector256.Max(most, Vector256.Min(Vector256.Load(x + i).AsUInt32() & Vector256.Create(~0x80000000u), Vector256.Create(mostFinite)));
        }

        Vector128<uint> lanes = Vector128.Max(most.GetLower(), most.GetUpper());
        lanes = Vector128.Max(lanes, Vector128.Shuffle(lanes, Vector128.Create(2u, 3, 0, 1)));
        uint bits = Math.Max(lanes.GetElement(0), lanes.GetElement(1));
        for (; i < count; i++)
        {
            bits = Math.Max(bits, Math.Min(BitConverter.SingleToUInt32Bits(x[i]) & ~0x80000000u, mostFinite));
        }

        float greatest = BitConverter.UInt32BitsToSingle(bits);
        float inverse = greatest < 1e-30f ? 0 : limit / greatest;
        for (i = 0; i <= count - 16; i += 16)
        {
            Vector256.Narrow(Rounded(x + i, inverse), Rounded(x + i + 8, inverse)).Store(y + i);
        }

        for (; i < count; i++)
        {
            uint value = BitConverter.SingleToUInt32Bits(x[i]);
            value = Math.Min(value & ~0x80000000u, mostFinite) | (value & 0x80000000u);
            y[i] = (short)BitConverter.SingleToInt32Bits(MathF.FusedMultiplyAdd(BitConverter.UInt32BitsToSingle(value), inverse, IntegerArithmetic.Rounder));
        }

        return greatest < 1e-30f ? 0 : greatest / limit;

        static Vector256<int> Rounded(float* x, float inverse)
        {
            Vector256<uint> bits = Vector256.Load(x).AsUInt32();
            Vector256<uint> sign = Vector256.Create(0x80000000u);
            Vector256<float> value = (Vector256.Min(bits & ~sign, Vector256.Create(mostFinite)) | (bits & sign)).AsSingle();
            return Vector256.FusedMultiplyAdd(value, Vector256.Create(inverse), Vector256.Create(IntegerArithmetic.Rounder)).AsInt32();
        }
    }

    /// <summary>Half precision to float32, exactly.</summary>
    public abstract void FromHalf(Half* x, float* y, int count);

    /// <summary>Bfloat16 to float32, exactly.</summary>
    public abstract void FromBFloat16(ushort* x, float* y, int count);
}
