using Antiphon.Kernels;

namespace Antiphon.Models;

/// <summary>Merges LoRA adapters into weights while they are loaded: W + scale · B · A, kept as float32.</summary>
internal sealed unsafe class AdapterMerger : IDisposable
{
    private readonly List<PeftAdapter> adapters = [];
    private readonly Dictionary<string, List<LowRankPair>> pairs = new(StringComparer.Ordinal);
    private readonly HashSet<string> unused = new(StringComparer.Ordinal);

    public AdapterMerger(IReadOnlyList<string> folders)
    {
        try
        {
            foreach (string folder in folders)
            {
                PeftAdapter adapter = PeftAdapter.Open(folder);
                adapters.Add(adapter);
                foreach (LowRankPair pair in adapter.Pairs)
                {
                    string tensor = $"{pair.Module}.weight";
                    if (!pairs.TryGetValue(tensor, out List<LowRankPair>? changes))
                    {
                        pairs[tensor] = changes = [];
                    }

                    changes.Add(pair);
                    unused.Add(tensor);
                }
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Whether an adapter changes a tensor.</summary>
    public bool Touches(string tensor) => pairs.ContainsKey(tensor);

    /// <summary>The matrix with all changes to it, or itself where there are none.</summary>
    public WeightMatrix Merge(string tensor, WeightMatrix matrix, WeightStore store)
    {
        if (!pairs.TryGetValue(tensor, out List<LowRankPair>? changes))
        {
            return matrix;
        }

        unused.Remove(tensor);
        float* values = store.Floats((long)matrix.Rows * matrix.Columns);
        for (int row = 0; row < matrix.Rows; row++)
        {
            matrix.DecodeRow(row, new Span<float>(values + ((long)row * matrix.Columns), matrix.Columns));
        }

        foreach (LowRankPair pair in changes)
        {
            Add(pair, matrix, values);
        }

        return WeightMatrix.Create(TensorFormat.F32, matrix.Rows, matrix.Columns, (byte*)values, (long)matrix.Rows * matrix.Columns * sizeof(float));
    }

    /// <summary>Throws when an adapter changes a tensor that the model did not ask for: half of an adapter must never be applied.</summary>
    public void RequireAllUsed()
    {
        foreach (string tensor in unused)
        {
            throw new ModelFormatException(
                $"{adapters[0].Path}: the adapter changes {tensor}, which the model does not have under this name; adapters need the safetensors folder of the model that they were trained on");
        }
    }

    public void Dispose()
    {
        foreach (PeftAdapter adapter in adapters)
        {
            adapter.Dispose();
        }
    }

    private static void Add(LowRankPair pair, WeightMatrix matrix, float* values)
    {
        int rank = checked((int)pair.A.Shape[0]);
        if (pair.A.Shape[1] != matrix.Columns || pair.B.Shape[0] != matrix.Rows)
        {
            throw new ModelFormatException(
                $"the adapter's matrices of {pair.Module} change [{pair.B.Shape[0]}, {pair.A.Shape[1]}], the model has [{matrix.Rows}, {matrix.Columns}]; they do not belong together");
        }

        float[] a = new float[pair.A.ElementCount];
        float[] b = new float[pair.B.ElementCount];
        BlockDecoder.Decode(pair.A.Format, pair.A.Bytes, a);
        BlockDecoder.Decode(pair.B.Format, pair.B.Bytes, b);
        for (int row = 0; row < matrix.Rows; row++)
        {
            float* target = values + ((long)row * matrix.Columns);
            for (int r = 0; r < rank; r++)
            {
                float factor = pair.Scale * b[(row * rank) + r];
                int start = r * matrix.Columns;
                for (int column = 0; column < matrix.Columns; column++)
                {
                    target[column] += factor * a[start + column];
                }
            }
        }
    }
}
