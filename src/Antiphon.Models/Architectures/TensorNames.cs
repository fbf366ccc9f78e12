using System.Globalization;

namespace Antiphon.Models;

/// <summary>
/// Where a file keeps each weight. Weights are asked for by role; the roles are the tensor names of GGUF without their block number, so that a GGUF
/// needs a table for its exceptions only.
/// </summary>
/// <param name="table">
/// Role to template. A key may be a role (<c>attn_q</c>; the kind, <c>weight</c> or <c>bias</c>, is appended) or a role with its kind
/// (<c>attn_sinks.weight</c>; the template is the full name). <c>{i}</c> is the layer, <c>{e}</c> the expert, a leading <c>/</c> leaves the prefix out.
/// </param>
/// <param name="prefix">Stands before every template.</param>
/// <param name="isGguf">Whether roles that are not in the table are names.</param>
internal sealed class TensorNames(IReadOnlyDictionary<string, string> table, string prefix, bool isGguf)
{
    /// <summary>Added to norm weights: 1 where files store them centred around zero.</summary>
    public float NormOffset { get; init; }

    /// <summary>Whether linear layers are stored input features first (GPT-2).</summary>
    public bool InputFirst { get; init; }

    /// <summary>Whether experts are stored as gpt-oss does: gate and up rows alternate, and dense matrices are input features first.</summary>
    public bool AlternatingExperts { get; init; }

    /// <summary>The name of a tensor, or null when the table has none.</summary>
    public string? Find(string role, string kind, int layer = -1, int expert = -1)
    {
        if (table.TryGetValue($"{role}.{kind}", out string? template))
        {
        }
        else if (table.TryGetValue(role, out template))
        {
            template = $"{template}.{kind}";
        }
        else if (isGguf)
        {
            template = layer < 0 ? $"{role}.{kind}" : $"blk.{{i}}.{role}.{kind}";
        }
        else
        {
            return null;
        }

        template = template.StartsWith('/') ? template[1..] : prefix + template;
        return template
            .Replace("{i}", layer.ToString(CultureInfo.InvariantCulture), StringComparison.Ordinal)
            .Replace("{e}", expert.ToString(CultureInfo.InvariantCulture), StringComparison.Ordinal);
    }
}
