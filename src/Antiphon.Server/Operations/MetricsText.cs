using System.Globalization;
using System.Text;

namespace Antiphon.Server;

/// <summary>Prometheus' text format.</summary>
internal sealed class MetricsText(string prefix)
{
    private readonly StringBuilder text = new();

    public static string Number(double value) => value.ToString("R", CultureInfo.InvariantCulture);

    public void Header(string name, string type, string help) =>
        text.Append(CultureInfo.InvariantCulture, $"# HELP {prefix}{name} {help}\n# TYPE {prefix}{name} {type}\n");

    public void Sample(string name, double value, params ReadOnlySpan<(string Name, string Value)> labels)
    {
        text.Append(prefix).Append(name);
        for (int i = 0; i < labels.Length; i++)
        {
            string escaped = labels[i].Value.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal);
            text.Append(i == 0 ? '{' : ',').Append(labels[i].Name).Append("=\"").Append(escaped).Append('"');
        }

        text.Append(labels.Length > 0 ? "} " : " ").Append(Number(value)).Append('\n');
    }

    public override string ToString() => text.ToString();
}
