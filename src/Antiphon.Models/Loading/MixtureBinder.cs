using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>Binds the experts of one layer, in whichever of the published storage forms they are.</summary>
internal sealed unsafe class MixtureBinder(int width, MixtureSpec mixture, WeightReader reader, int layer)
{
    private readonly int inner = mixture.ExpertWidth;
    private readonly int count = mixture.Experts;

    public MixtureWeights Bind() => new()
    {
        Router = new Linear(reader.Matrix("ffn_gate_inp", count, width, layer), reader.VectorIf(mixture.Router.Bias, "ffn_gate_inp", count, layer)),
        SelectionBias = reader.VectorIf(mixture.Router.SelectionBias, "exp_probs_b", count, layer),
        Experts = Experts(),
        Shared = mixture.SharedWidth == 0 ? null : new DenseWeights
        {
            Gate = new Linear(reader.Matrix("ffn_gate_shexp", mixture.SharedWidth, width, layer), null),
            Up = new Linear(reader.Matrix("ffn_up_shexp", mixture.SharedWidth, width, layer), null),
            Down = new Linear(reader.Matrix("ffn_down_shexp", width, mixture.SharedWidth, layer), null),
        },
        SharedGate = mixture.SharedWidth > 0 && mixture.SharedGate ? SharedGate() : null,
    };

    /// <summary>A vector in some files, a matrix of one row in others.</summary>
    private WeightMatrix SharedGate()
    {
        TensorView tensor = reader.Tensor("ffn_gate_inp_shexp", "weight", layer);
        reader.Require(tensor, tensor.ElementCount == width, $"[1, {width}]");
        return WeightMatrix.Create(tensor.Format, 1, width, (byte*)tensor.Data, tensor.ByteCount);
    }

    private DenseWeights[] Experts()
    {
        WeightMatrix[] gate, up, down;
        if (reader.Names.AlternatingExperts)
        {
            return AlternatingExperts();
        }

        if (reader.TryStack("ffn_gate_up_exps", count, checked(2 * inner), width, layer) is WeightMatrix[] fused)
        {
            gate = Array.ConvertAll(fused, m => m.Slice(0, inner));
            up = Array.ConvertAll(fused, m => m.Slice(inner, inner));
            down = Required("ffn_down_exps", width, inner);
        }
        else if (reader.TryStack("ffn_gate_exps", count, inner, width, layer) is WeightMatrix[] stacked)
        {
            gate = stacked;
            up = Required("ffn_up_exps", inner, width);
            down = Required("ffn_down_exps", width, inner);
        }
        else
        {
            gate = new WeightMatrix[count];
            up = new WeightMatrix[count];
            down = new WeightMatrix[count];
            for (int e = 0; e < count; e++)
            {
                gate[e] = reader.Matrix("ffn_gate_exp", inner, width, layer, e);
                up[e] = reader.Matrix("ffn_up_exp", inner, width, layer, e);
                down[e] = reader.Matrix("ffn_down_exp", width, inner, layer, e);
            }
        }

        bool bias = mixture.ExpertBias;
        float* gateBias = Biases(bias, "ffn_gate_exps", inner);
        float* upBias = Biases(bias, "ffn_up_exps", inner);
        float* downBias = Biases(bias, "ffn_down_exps", width);
        var experts = new DenseWeights[count];
        for (int e = 0; e < count; e++)
        {
            experts[e] = new DenseWeights
            {
                Gate = new Linear(gate[e], bias ? gateBias + ((long)e * inner) : null),
                Up = new Linear(up[e], bias ? upBias + ((long)e * inner) : null),
                Down = new Linear(down[e], bias ? downBias + ((long)e * width) : null),
            };
        }

        return experts;
    }

    private WeightMatrix[] Required(string role, int rows, int columns)
    {
        reader.Tensor(role, "weight", layer);
        return reader.TryStack(role, count, rows, columns, layer)!;
    }

    private float* Biases(bool present, string role, int rows) => reader.VectorIf(present, role, checked(count * rows), layer);

    /// <summary>gpt-oss: rows of gate and up alternate; matrices are MXFP4 blocks, or dense with input features first.</summary>
    private DenseWeights[] AlternatingExperts()
    {
        bool packed = reader.Has("ffn_gate_up_exps", "blocks", layer);
        float* fusedBias = Biases(true, "ffn_gate_up_exps", 2 * inner);
        float* downBias = Biases(true, "ffn_down_exps", width);
        float* split = reader.Store.Floats((long)count * 2 * inner);
        var experts = new DenseWeights[count];
        for (int e = 0; e < count; e++)
        {
            float* gateBias = split + ((long)e * 2 * inner);
            float* upBias = gateBias + inner;
            for (int i = 0; i < inner; i++)
            {
                gateBias[i] = fusedBias[((long)e * 2 * inner) + (2 * i)];
                upBias[i] = fusedBias[((long)e * 2 * inner) + (2 * i) + 1];
            }

            experts[e] = new DenseWeights
            {
                Gate = new Linear(Alternate("ffn_gate_up_exps", e, 2 * inner, width, 0, 2, packed), gateBias),
                Up = new Linear(Alternate("ffn_gate_up_exps", e, 2 * inner, width, 1, 2, packed), upBias),
                Down = new Linear(Alternate("ffn_down_exps", e, width, inner, 0, 1, packed), downBias + ((long)e * width)),
            };
        }

        return experts;
    }

    private WeightMatrix Alternate(string role, int expert, int allRows, int columns, int first, int step, bool packed)
    {
        if (packed)
        {
            return Packed(role, expert, allRows, columns, first, step);
        }

        TensorView tensor = reader.Tensor(role, "weight", layer);
        reader.Require(tensor, tensor.Shape is [long c, long i, long o] && c == count && i == columns && o == allRows, $"[{count}, {columns}, {allRows}]");
        long bytes = checked((long)columns * allRows * tensor.Format.BlockBytes());
        return reader.Transposed(tensor.Format, (byte*)tensor.Data + (expert * bytes), columns, allRows, first, step);
    }

    /// <summary>Safetensors keep neighbouring values in a byte and scales apart; GGML's block is a scale and then values 16 apart in a byte.</summary>
    private WeightMatrix Packed(string role, int expert, int allRows, int columns, int first, int step)
    {
        const int Block = 32;
        TensorView blocks = reader.Tensor(role, "blocks", layer);
        TensorView scales = reader.Tensor(role, "scales", layer);
        int perRow = columns / Block;
        reader.Require(
            blocks,
            columns % Block == 0 && blocks.ByteCount == blocks.ElementCount && blocks.Shape is [long c, long r, long b, 16] && c == count && r == allRows && b == perRow,
            $"[{count}, {allRows}, {columns} / 32, 16]");
        reader.Require(scales, scales.ByteCount == scales.ElementCount && scales.Shape is [long d, long s, long p] && d == count && s == allRows && p == perRow, $"[{count}, {allRows}, {perRow}]");
        int rows = allRows / step;
        long rowBytes = TensorFormat.MXFP4.ByteCount(columns);
        byte* target = reader.Store.Bytes(rows * rowBytes);
        for (int row = 0; row < rows; row++)
        {
            long source = ((long)expert * allRows) + first + ((long)row * step);
            for (int block = 0; block < perRow; block++)
            {
                byte* from = (byte*)blocks.Data + (((source * perRow) + block) * 16);
                byte* to = target + (row * rowBytes) + (block * 17);
                *to++ = ((byte*)scales.Data)[(source * perRow) + block];
                for (int j = 0; j < 16; j++)
                {
                    to[j] = (byte)(Nibble(from, j) | (Nibble(from, j + 16) << 4));
                }
            }
        }

        return WeightMatrix.Create(TensorFormat.MXFP4, rows, columns, target, rows * rowBytes);
    }

    private static int Nibble(byte* block, int index) => (block[index / 2] >> (4 * (index & 1))) & 15;
}
