using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>Finds weights by role, checks their shapes against the spec, and brings them into the forms that the forward pass wants.</summary>
internal sealed unsafe class WeightReader(ModelSource source, TensorNames names, WeightStore store, AdapterMerger? adapters, MatrixPlacement placement)
{
    /// <summary>Whether the file has the tensor.</summary>
    public bool Has(string role, string kind = "weight", int layer = -1, int expert = -1) =>
        names.Find(role, kind, layer, expert) is string name && source.TryGetTensor(name, out _);

    /// <summary>Where the file's storage differs from the common one.</summary>
    public TensorNames Names => names;

    public WeightStore Store => store;

    /// <summary>A required vector as float32.</summary>
    public float* Vector(string role, int length, int layer = -1, string kind = "weight")
    {
        TensorView tensor = Tensor(role, kind, layer);
        Require(tensor, tensor.ElementCount == length, $"{length} values");
        return Floats(tensor);
    }

    /// <summary>A required vector, or null where the spec has none.</summary>
    public float* VectorIf(bool present, string role, int length, int layer = -1, string kind = "bias") =>
        present ? Vector(role, length, layer, kind) : null;

    /// <summary>A norm's weight and bias.</summary>
    public NormWeights Norm(NormSpec spec, string role, int length, int layer = -1, bool hasOffset = true)
    {
        float* weight = VectorIf(spec.HasWeight, role, length, layer, "weight");
        float offset = hasOffset ? names.NormOffset : 0;
        for (int i = 0; weight is not null && offset != 0 && i < length; i++)
        {
            weight[i] += offset;
        }

        return new NormWeights { Spec = spec, Weight = weight, Bias = VectorIf(spec.HasBias, role, length, layer), Length = length };
    }

    /// <summary>A required matrix [rows, columns], with adapters merged into it.</summary>
    public WeightMatrix Matrix(string role, int rows, int columns, int layer = -1, int expert = -1)
    {
        TensorView tensor = Tensor(role, "weight", layer, expert);
        if (names.InputFirst && layer >= 0)
        {
            RequireMatrix(tensor, columns, rows);
            return Merged(tensor.Name, Transposed(tensor.Format, (byte*)tensor.Data, columns, rows, 0, 1));
        }

        RequireMatrix(tensor, rows, columns);
        bool exact = role == "ffn_gate_inp" || adapters?.Touches(tensor.Name) == true;
        return Merged(tensor.Name, placement.Place(tensor.Format, rows, columns, (byte*)tensor.Data, tensor.ByteCount, exact));
    }

    /// <summary>A stack of matrices [count, rows, columns], or null when the file has no such tensor.</summary>
    public WeightMatrix[]? TryStack(string role, int count, int rows, int columns, int layer)
    {
        if (!Has(role, "weight", layer))
        {
            return null;
        }

        TensorView tensor = Tensor(role, "weight", layer);
        Require(tensor, tensor.Shape is [long c, long r, long w] && c == count && r == rows && w == columns, $"[{count}, {rows}, {columns}]");
        RequireBlocks(tensor, columns);
        long bytes = rows * tensor.Format.ByteCount(columns);
        WeightMatrix[] matrices = new WeightMatrix[count];
        for (int i = 0; i < count; i++)
        {
            matrices[i] = placement.Place(tensor.Format, rows, columns, (byte*)tensor.Data + (i * bytes), bytes, exact: false);
        }

        return matrices;
    }

    /// <summary>A required tensor whose shape the caller checks.</summary>
    public TensorView Tensor(string role, string kind, int layer = -1, int expert = -1)
    {
        string? name = names.Find(role, kind, layer, expert);
        return name is not null && source.TryGetTensor(name, out TensorView tensor)
            ? tensor
            : throw new ModelFormatException($"{source.Path}: tensor {name ?? role} is missing; the file is incomplete or of another architecture than it says");
    }

    /// <summary>All values of a tensor as float32, in memory of their own.</summary>
    public float* Floats(TensorView tensor)
    {
        int count = checked((int)tensor.ElementCount);
        float* values = store.Floats(count);
        try
        {
            BlockDecoder.Decode(tensor.Format, tensor.Bytes, new Span<float>(values, count));
        }
        catch (Exception e) when (e is ArgumentException or NotSupportedException)
        {
            throw new ModelFormatException($"{source.Path}: tensor {tensor.Name} is stored as {tensor.Format}, which cannot be read here", e);
        }

        return values;
    }

    /// <summary>Copies of some rows of a matrix, in a new order.</summary>
    public WeightMatrix Rows(WeightMatrix matrix, ReadOnlySpan<int> rows)
    {
        float* values = store.Floats((long)rows.Length * matrix.Columns);
        for (int i = 0; i < rows.Length; i++)
        {
            matrix.DecodeRow(rows[i], new Span<float>(values + ((long)i * matrix.Columns), matrix.Columns));
        }

        return WeightMatrix.Create(TensorFormat.F32, rows.Length, matrix.Columns, (byte*)values, (long)rows.Length * matrix.Columns * sizeof(float));
    }

    /// <summary>Rows of a tensor that is stored [columns, all rows]: from <paramref name="first"/> on, each <paramref name="step"/>-th.</summary>
    public WeightMatrix Transposed(TensorFormat format, byte* data, int columns, int allRows, int first, int step)
    {
        if (format.BlockElements() != 1)
        {
            throw new ModelFormatException($"{source.Path}: a matrix that is stored input features first cannot be {format}");
        }

        int rows = (allRows - first + step - 1) / step;
        int size = format.BlockBytes();
        byte* values = store.Bytes((long)rows * columns * size);
        for (int r = 0; r < rows; r++)
        {
            for (int c = 0; c < columns; c++)
            {
                Buffer.MemoryCopy(data + ((((long)c * allRows) + first + ((long)r * step)) * size), values + ((((long)r * columns) + c) * size), size, size);
            }
        }

        return WeightMatrix.Create(format, rows, columns, values, (long)rows * columns * size);
    }

    /// <summary>Throws the error for a shape that does not fit the config.</summary>
    public void Require(TensorView tensor, bool fits, string wanted)
    {
        if (!fits)
        {
            throw new ModelFormatException(
                $"{source.Path}: tensor {tensor.Name} has shape [{string.Join(", ", tensor.Shape)}], the config asks for {wanted}; config and weights do not belong together");
        }
    }

    private void RequireMatrix(TensorView tensor, int rows, int columns)
    {
        Require(tensor, tensor.Shape is [long r, long c] && r == rows && c == columns, $"[{rows}, {columns}]");
        RequireBlocks(tensor, columns);
    }

    private void RequireBlocks(TensorView tensor, int columns)
    {
        if (columns % tensor.Format.BlockElements() != 0)
        {
            throw new ModelFormatException($"{source.Path}: tensor {tensor.Name} has rows of {columns} values, which are not whole blocks of {tensor.Format}");
        }
    }

    private WeightMatrix Merged(string name, WeightMatrix matrix) => adapters?.Merge(name, matrix, store) ?? matrix;
}
