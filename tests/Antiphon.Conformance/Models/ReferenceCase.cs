using System.Text.Json;
using Antiphon.Kernels;
using Antiphon.Models;

namespace Antiphon.Conformance.Models;

/// <summary>What Hugging Face transformers computed with the model of a folder.</summary>
internal sealed class ReferenceCase
{
    private ReferenceCase(string folder)
    {
        Folder = folder;
        using JsonDocument cases = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "cases.json")));
        JsonElement root = cases.RootElement;
        Task = root.TryGetProperty("task", out JsonElement task) ? task.GetString() : null;
        foreach (JsonProperty prompt in root.GetProperty("prompts").EnumerateObject())
        {
            Prompts[prompt.Name] = [.. prompt.Value.EnumerateArray().Select(t => t.GetInt32())];
        }

        if (root.TryGetProperty("greedy", out JsonElement greedy))
        {
            Greedy = [.. greedy.EnumerateArray().Select(t => t.GetInt32())];
            Gaps = [.. root.GetProperty("greedy_gap").EnumerateArray().Select(t => t.GetDouble())];
        }

        using SafetensorsFile file = SafetensorsFile.Open(Path.Combine(folder, "expected.safetensors"));
        foreach (TensorView tensor in file.Tensors)
        {
            float[] values = new float[tensor.ElementCount];
            BlockDecoder.Decode(tensor.Format, tensor.Bytes, values);
            Expected[tensor.Name] = (values, (int)tensor.Shape[0]);
        }
    }

    public string Folder { get; }

    /// <summary>Null for logits of a decoder.</summary>
    public string? Task { get; }

    public Dictionary<string, int[]> Prompts { get; } = [];

    public int[] Greedy { get; } = [];

    public double[] Gaps { get; } = [];

    public Dictionary<string, (float[] Values, int Rows)> Expected { get; } = [];

    /// <summary>Largest error that a logit may have, and the deviation that it is measured by.</summary>
    public (double Tolerance, double Deviation) Tolerance()
    {
        float[] values = Expected["short.logits"].Values;
        double mean = values.Average(v => (double)v);
        double deviation = Math.Sqrt(values.Average(v => (v - mean) * (v - mean)));
        return ((2e-3 * deviation) + 1e-4, deviation);
    }

    public static ReferenceCase Open(string folder) => new(folder);
}
