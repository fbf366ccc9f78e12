namespace Antiphon.Text;

/// <summary>A stable sort that pays for its comparisons.</summary>
internal static class Sorting
{
    public static List<T> Sort<T>(Run run, IReadOnlyList<T> items, Func<T, TemplateValue> keyOf, bool reverse = false)
    {
        run.PayItems(items.Count * 3L);
        var sorted = new (TemplateValue Key, T Item)[items.Count];
        for (int i = 0; i < sorted.Length; i++)
        {
            sorted[i] = (keyOf(items[i]), items[i]);
        }

        var from = sorted;
        var to = new (TemplateValue Key, T Item)[sorted.Length];
        for (int width = 1; width < sorted.Length; width *= 2)
        {
            for (int start = 0; start < sorted.Length; start += 2 * width)
            {
                int middle = Math.Min(start + width, sorted.Length);
                int end = Math.Min(middle + width, sorted.Length);
                int left = start;
                int right = middle;
                for (int at = start; at < end; at++)
                {
                    // Equal items keep their order, also in a reversed sort.
                    bool takesRight = left == middle || (right < end
                        && (reverse ? Less(run, from[left].Key, from[right].Key) : Less(run, from[right].Key, from[left].Key)));
                    to[at] = takesRight ? from[right++] : from[left++];
                }
            }

            (from, to) = (to, from);
        }

        return [.. from.Select(pair => pair.Item)];
    }

    public static bool Less(Run run, TemplateValue a, TemplateValue b) => Comparison.Holds(run, "<", a, b);
}
