using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;

namespace Antiphon.Text;

/// <summary>
/// Unicode normalisation (UAX 15). .NET's own does nothing in invariant globalization mode, which Antiphon runs in.
/// </summary>
internal static class UnicodeNormalization
{
    private const int HangulBase = 0xAC00, LeadBase = 0x1100, VowelBase = 0x1161, TailBase = 0x11A7;
    private const int LeadCount = 19, VowelCount = 21, TailCount = 28, HangulCount = LeadCount * VowelCount * TailCount;

    private static readonly Lazy<Tables> Data = new(Load);

    /// <summary>The text in a form; plain ASCII comes back as the same instance.</summary>
    public static string Normalize(string text, NormalizationForm form)
    {
        if (Ascii.IsValid(text))
        {
            return text;
        }

        bool compatibility = form is NormalizationForm.FormKC or NormalizationForm.FormKD;
        bool compose = form is NormalizationForm.FormC or NormalizationForm.FormKC;
        Tables tables = Data.Value;
        var points = new List<int>(text.Length + 16);
        var classes = new List<byte>(text.Length + 16);
        foreach (Rune rune in text.EnumerateRunes())
        {
            Decompose(tables, rune.Value, compatibility, points, classes);
        }

        Reorder(points, classes);
        if (compose)
        {
            Compose(tables, points, classes);
        }

        var result = new StringBuilder(points.Count);
        foreach (int point in points)
        {
            result.Append(new Rune(point));
        }

        return result.ToString();
    }

    /// <summary>Canonical combining class; 0 for a starter.</summary>
    public static byte CombiningClass(int point) => Data.Value.Classes.GetValueOrDefault(point);

    private static void Decompose(Tables tables, int point, bool compatibility, List<int> points, List<byte> classes)
    {
        if (point < 0x80)
        {
            points.Add(point);
            classes.Add(0);
            return;
        }

        int syllable = point - HangulBase;
        if ((uint)syllable < HangulCount)
        {
            Add(LeadBase + (syllable / (VowelCount * TailCount)));
            Add(VowelBase + (syllable / TailCount % VowelCount));
            if (syllable % TailCount != 0)
            {
                Add(TailBase + (syllable % TailCount));
            }

            return;
        }

        Dictionary<int, int[]> mappings = compatibility ? tables.Compatibility : tables.Canonical;
        if (mappings.TryGetValue(point, out int[]? parts))
        {
            foreach (int part in parts)
            {
                Add(part);
            }
        }
        else
        {
            Add(point);
        }

        void Add(int part)
        {
            points.Add(part);
            classes.Add(tables.Classes.GetValueOrDefault(part));
        }
    }

    // A stable sort of each run of non-starters by class. Runs may be as long as the text (hostile input), so no insertion sort.
    private static void Reorder(List<int> points, List<byte> classes)
    {
        for (int i = 0; i < points.Count; i++)
        {
            if (classes[i] == 0)
            {
                continue;
            }

            int start = i;
            bool sorted = true;
            for (i++; i < points.Count && classes[i] != 0; i++)
            {
                sorted &= classes[i - 1] <= classes[i];
            }

            if (!sorted)
            {
                (int Point, byte Class)[] run = [.. Enumerable.Range(start, i - start).Select(k => (points[k], classes[k])).OrderBy(p => p.Item2)];
                for (int k = 0; k < run.Length; k++)
                {
                    (points[start + k], classes[start + k]) = run[k];
                }
            }
        }
    }

    private static void Compose(Tables tables, List<int> points, List<byte> classes)
    {
        int write = 0;
        int starter = -1;
        int lastClass = -1;
        for (int read = 0; read < points.Count; read++)
        {
            int point = points[read];
            byte ccc = classes[read];
            if (starter >= 0 && lastClass < ccc && TryCompose(tables, points[starter], point, out int composed))
            {
                points[starter] = composed;
                continue;
            }

            if (ccc == 0)
            {
                starter = write;
                lastClass = -1;
            }
            else
            {
                lastClass = ccc;
            }

            points[write] = point;
            classes[write++] = ccc;
        }

        points.RemoveRange(write, points.Count - write);
    }

    private static bool TryCompose(Tables tables, int first, int second, out int composed)
    {
        if ((uint)(first - LeadBase) < LeadCount && (uint)(second - VowelBase) < VowelCount)
        {
            composed = HangulBase + ((((first - LeadBase) * VowelCount) + second - VowelBase) * TailCount);
            return true;
        }

        if ((uint)(first - HangulBase) < HangulCount && (first - HangulBase) % TailCount == 0 && (uint)(second - TailBase - 1) < TailCount - 1)
        {
            composed = first + second - TailBase;
            return true;
        }

        return tables.Pairs.TryGetValue((first, second), out composed);
    }

    private static Tables Load()
    {
        byte[] data = new byte[NormalizationData.Length];
        using (var stream = new ZLibStream(new MemoryStream(Convert.FromBase64String(NormalizationData.Packed)), CompressionMode.Decompress))
        {
            stream.ReadExactly(data);
        }

        int position = 0;
        int Next()
        {
            int value = BinaryPrimitives.ReadInt32LittleEndian(data.AsSpan(position));
            position += 4;
            return value;
        }

        var classes = new Dictionary<int, byte>();
        var pairs = new Dictionary<(int, int), int>();
        var steps = new Dictionary<int, (int[] Parts, bool Compatibility)>();
        for (int record = 0; record < NormalizationData.Records; record++)
        {
            int head = Next();
            int point = head & 0xFFFFFF;
            byte ccc = (byte)Next();
            int[] parts = new int[Next()];
            for (int i = 0; i < parts.Length; i++)
            {
                parts[i] = Next();
            }

            if (ccc != 0)
            {
                classes[point] = ccc;
            }

            if (parts.Length > 0)
            {
                steps[point] = (parts, (head >> 24 & 1) != 0);
            }

            if ((head >> 24 & 2) != 0)
            {
                pairs[(parts[0], parts[1])] = point;
            }
        }

        var canonical = new Dictionary<int, int[]>();
        var compatibility = new Dictionary<int, int[]>();
        foreach (int point in steps.Keys)
        {
            compatibility[point] = [.. Expand(point, all: true)];
            if (!steps[point].Compatibility)
            {
                canonical[point] = [.. Expand(point, all: false)];
            }
        }

        return new(classes, canonical, compatibility, pairs);

        IEnumerable<int> Expand(int point, bool all) =>
            steps.TryGetValue(point, out (int[] Parts, bool Compatibility) step) && (all || !step.Compatibility)
                ? step.Parts.SelectMany(part => Expand(part, all))
                : [point];
    }

    private sealed record Tables(
        Dictionary<int, byte> Classes,
        Dictionary<int, int[]> Canonical,
        Dictionary<int, int[]> Compatibility,
        Dictionary<(int First, int Second), int> Pairs);
}
