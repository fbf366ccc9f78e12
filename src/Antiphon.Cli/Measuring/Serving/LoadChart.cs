using System.Globalization;
using System.Security;
using System.Text;

namespace Antiphon.Cli;

/// <summary>A run as a picture: its figures, how the latencies are distributed, and each request on a line of time.</summary>
internal static class LoadChart
{
    private const int Width = 1000;
    private const int Margin = 32;
    private const int MostPoints = 400;
    private const int MostBars = 160;
    private const string First = "#2563eb";
    private const string Next = "#0d9488";
    private const string Wait = "#cbd5e1";
    private const string Bad = "#dc2626";

    /// <summary>The picture as SVG.</summary>
    public static string Of(LoadReport report)
    {
        // Times of the second row's panel set the height: a bar a request, thinner ones where there are many.
        IReadOnlyList<RequestRecord> bars = Sample(report.Records, MostBars);
        double barHeight = Math.Clamp(360.0 / Math.Max(1, bars.Count), 2.5, 14);
        double timeline = Math.Max(60, barHeight * bars.Count);
        double height = 478 + timeline + 88;
        var svg = new StringBuilder();
        Add(svg, $"""
            <svg xmlns="http://www.w3.org/2000/svg" width="{Width}" height="{N(height)}" viewBox="0 0 {Width} {N(height)}" role="img" aria-label="Latency and throughput of a model server" font-family="Inter, 'Segoe UI', 'Helvetica Neue', 'DejaVu Sans', Arial, sans-serif">
            <rect width="{Width}" height="{N(height)}" fill="#f1f5f9"/>
            """);
        Text(svg, Margin, 46, report.Server, 22, "#0f172a", weight: 700);
        Text(svg, Margin, 70, report.Plan, 13, "#475569");
        Tiles(svg, report);
        Curve(svg, Margin, 190, "Time to first token", report.FirstToken, First, report.FirstTarget);
        Curve(svg, 508, 190, "Time between tokens", report.InterToken, Next, report.TokenTarget);
        Timeline(svg, report, bars, 478, barHeight, timeline);
        svg.Append("</svg>\n");
        return svg.ToString();
    }

    private static void Tiles(StringBuilder svg, LoadReport report)
    {
        bool targets = report.FirstTarget is not null || report.TokenTarget is not null;
        (string Value, string Unit, string Name)[] tiles =
        [
            (Figure(report.OutputPerSecond), "tokens/s", "output throughput"),
            (Figure(report.RequestsPerSecond), "requests/s", $"{report.Good.Count} of {report.Records.Count} answered"),
            (targets ? Figure(report.Goodput) : "–", targets ? "requests/s" : "", targets ? "goodput at the targets" : "goodput: no target given"),
            (Figure(report.CachedShare * 100), "%", "of prompt tokens cached"),
        ];
        double width = (Width - (2 * Margin) - 36) / 4.0;
        for (int i = 0; i < tiles.Length; i++)
        {
            double x = Margin + (i * (width + 12));
            Card(svg, x, 90, width, 84);
            Add(svg, $"""<text x="{N(x + 16)}" y="132" font-size="28" font-weight="700" fill="#0f172a">{Escape(tiles[i].Value)}<tspan font-size="13" font-weight="400" fill="#475569" dx="6">{Escape(tiles[i].Unit)}</tspan></text>""");
            Text(svg, x + 16, 156, tiles[i].Name, 12, "#64748b");
        }
    }

    /// <summary>Share of values below each time, on a logarithmic axis, since latencies span powers of ten.</summary>
    private static void Curve(StringBuilder svg, double x, double y, string title, Distribution values, string color, double? target)
    {
        const double CardWidth = 460;
        Card(svg, x, y, CardWidth, 272);
        Text(svg, x + 16, y + 28, title, 15, "#0f172a", weight: 600);
        if (values.Sorted.Length == 0)
        {
            Text(svg, x + 16, y + 60, "nothing to show", 13, "#64748b");
            return;
        }

        Text(svg, x + CardWidth - 16, y + 28, $"p50 {Time(values.At(0.5))}  ·  p90 {Time(values.At(0.9))}  ·  p99 {Time(values.At(0.99))}", 12, "#475569", "end");
        double left = x + 50, right = x + CardWidth - 20, top = y + 48, bottom = y + 234;
        double least = Math.Max(values.At(0.005), 1e-5), most = Math.Max(values.At(1), least * 1.01);
        if (target is double aim)
        {
            least = Math.Min(least, aim);
            most = Math.Max(most, aim);
        }

        double low = Math.Log10(least) - 0.05, high = Math.Log10(most) + 0.05;
        if (high - low < 0.5)
        {
            double middle = (high + low) / 2;
            (low, high) = (middle - 0.25, middle + 0.25);
        }

        double X(double seconds) => left + (Math.Clamp((Math.Log10(Math.Max(seconds, 1e-9)) - low) / (high - low), 0, 1) * (right - left));
        double Y(double share) => bottom - (share * (bottom - top));
        foreach (int percent in (int[])[0, 25, 50, 75, 100])
        {
            Line(svg, left, Y(percent / 100.0), right, Y(percent / 100.0), "#e2e8f0");
            Text(svg, left - 8, Y(percent / 100.0) + 4, $"{percent} %", 11, "#64748b", "end");
        }

        double lastLabel = double.NegativeInfinity;
        for (int power = (int)Math.Floor(low); power <= high; power++)
        {
            foreach (double step in (double[])[1, 2, 5])
            {
                double seconds = step * Math.Pow(10, power);
                if (Math.Log10(seconds) >= low && Math.Log10(seconds) <= high)
                {
                    Line(svg, X(seconds), top, X(seconds), bottom, "#e2e8f0");
                    if (X(seconds) - lastLabel > 46)
                    {
                        Text(svg, X(seconds), bottom + 18, Time(seconds), 11, "#64748b", "middle");
                        lastLabel = X(seconds);
                    }
                }
            }
        }

        var points = new StringBuilder();
        points.Append(CultureInfo.InvariantCulture, $"{N(left)},{N(Y(0))}");
        int step2 = Math.Max(1, values.Sorted.Length / MostPoints);
        for (int i = 0; i < values.Sorted.Length; i += step2)
        {
            points.Append(CultureInfo.InvariantCulture, $" {N(X(values.Sorted[i]))},{N(Y(i / (double)values.Sorted.Length))}");
            points.Append(CultureInfo.InvariantCulture, $" {N(X(values.Sorted[i]))},{N(Y(Math.Min(1, (i + step2) / (double)values.Sorted.Length)))}");
        }

        points.Append(CultureInfo.InvariantCulture, $" {N(X(values.At(1)))},{N(Y(1))} {N(right)},{N(Y(1))}");
        Add(svg, $"""<polygon points="{points} {N(right)},{N(bottom)} {N(left)},{N(bottom)}" fill="{color}" fill-opacity="0.10"/>""");
        Add(svg, $"""<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2.2" stroke-linejoin="round"/>""");
        foreach (double share in (double[])[0.5, 0.9, 0.99])
        {
            Add(svg, $"""<circle cx="{N(X(values.At(share)))}" cy="{N(Y(share))}" r="4" fill="#ffffff" stroke="{color}" stroke-width="2"/>""");
        }

        if (target is double goal)
        {
            Add(svg, $"""<line x1="{N(X(goal))}" y1="{N(top)}" x2="{N(X(goal))}" y2="{N(bottom)}" stroke="{Bad}" stroke-width="1.5" stroke-dasharray="5 4"/>""");
            bool before = X(goal) > right - 90;
            Add(svg, $"""<text x="{N(X(goal) + (before ? -6 : 6))}" y="{N(bottom - 8)}" font-size="11" text-anchor="{(before ? "end" : "start")}" fill="{Bad}" stroke="#ffffff" stroke-width="3" paint-order="stroke">target {Escape(Time(goal))}</text>""");
        }
    }

    private static void Timeline(StringBuilder svg, LoadReport report, IReadOnlyList<RequestRecord> bars, double y, double barHeight, double space)
    {
        double width = Width - (2 * Margin);
        Card(svg, Margin, y, width, space + 72);
        Text(svg, Margin + 16, y + 28, "Each request" + (bars.Count < report.Records.Count ? $" ({bars.Count} of {report.Records.Count} shown)" : ""), 15, "#0f172a", weight: 600);
        double key = Margin + width - 330;
        foreach ((string color, string name, double offset) in (ReadOnlySpan<(string, string, double)>)[(Wait, "to first token", 0), (First, "answering", 118), (Bad, "failed", 214)])
        {
            Add(svg, $"""<rect x="{N(key + offset)}" y="{N(y + 19)}" width="14" height="10" rx="2" fill="{color}"/>""");
            Text(svg, key + offset + 20, y + 28, name, 12, "#475569");
        }

        double left = Margin + 16, right = Margin + width - 16, top = y + 44;
        double end = Math.Max(report.Seconds, 1e-3);
        double X(double seconds) => left + (Math.Clamp(seconds / end, 0, 1) * (right - left));
        double tick = Math.Pow(10, Math.Floor(Math.Log10(end / 4)));
        tick *= end / tick > 20 ? 5 : end / tick > 10 ? 2 : 1;
        for (double at = 0; at <= end; at += tick)
        {
            Line(svg, X(at), top, X(at), top + space, "#e2e8f0");
            Text(svg, X(at), top + space + 17, at == 0 ? "0" : Time(at), 11, "#64748b", "middle");
        }

        for (int i = 0; i < bars.Count; i++)
        {
            RequestRecord record = bars[i];
            double row = top + (i * barHeight), thick = Math.Max(1.5, barHeight - (barHeight > 5 ? 2 : 0.6));
            if (!record.Good)
            {
                Add(svg, $"""<rect x="{N(X(record.Due))}" y="{N(row)}" width="6" height="{N(thick)}" rx="1" fill="{Bad}"/>""");
                continue;
            }

            Add(svg, $"""<rect x="{N(X(record.Due))}" y="{N(row)}" width="{N(Math.Max(0.5, X(record.Pieces[0]) - X(record.Due)))}" height="{N(thick)}" fill="{Wait}"/>""");
            Add(svg, $"""<rect x="{N(X(record.Pieces[0]))}" y="{N(row)}" width="{N(Math.Max(0.8, X(record.End) - X(record.Pieces[0])))}" height="{N(thick)}" rx="1" fill="{First}" fill-opacity="0.85"/>""");
        }
    }

    private static IReadOnlyList<T> Sample<T>(IReadOnlyList<T> all, int most) =>
        all.Count <= most ? all : [.. Enumerable.Range(0, most).Select(i => all[(int)((long)i * all.Count / most)])];

    private static void Card(StringBuilder svg, double x, double y, double width, double height) =>
        Add(svg, $"""<rect x="{N(x)}" y="{N(y)}" width="{N(width)}" height="{N(height)}" rx="10" fill="#ffffff" stroke="#e2e8f0"/>""");

    private static void Line(StringBuilder svg, double x1, double y1, double x2, double y2, string color) =>
        Add(svg, $"""<line x1="{N(x1)}" y1="{N(y1)}" x2="{N(x2)}" y2="{N(y2)}" stroke="{color}"/>""");

    private static void Text(StringBuilder svg, double x, double y, string text, int size, string color, string anchor = "start", int weight = 400) =>
        Add(svg, $"""<text x="{N(x)}" y="{N(y)}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" fill="{color}">{Escape(text)}</text>""");

    private static void Add(StringBuilder svg, string line) => svg.Append(line).Append('\n');

    /// <summary>What XML cannot hold does not reach it: a server's address or a file's name is text from outside.</summary>
    private static string Escape(string text) => SecurityElement.Escape(string.Concat(text.Select(c => char.IsControl(c) || char.IsSurrogate(c) || c is '\uFFFE' or '\uFFFF' ? '\uFFFD' : c)));

    private static string N(double value) => value.ToString("0.##", CultureInfo.InvariantCulture);

    private static string Figure(double value) => value.ToString(value >= 100 ? "N0" : value >= 10 ? "0.0" : "0.00", CultureInfo.InvariantCulture);

    /// <summary>A time with its unit.</summary>
    public static string Time(double seconds) => seconds switch
    {
        >= 9.95 => seconds.ToString("0.#", CultureInfo.InvariantCulture) + " s",
        >= 0.995 => seconds.ToString("0.##", CultureInfo.InvariantCulture) + " s",
        >= 0.0995 => (seconds * 1e3).ToString("0", CultureInfo.InvariantCulture) + " ms",
        >= 0.00995 => (seconds * 1e3).ToString("0.#", CultureInfo.InvariantCulture) + " ms",
        _ => (seconds * 1e3).ToString("0.##", CultureInfo.InvariantCulture) + " ms",
    };
}
