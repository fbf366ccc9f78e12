namespace Antiphon.Text;

/// <summary>The comparing operators.</summary>
internal static class Comparison
{
    public static bool Holds(Run run, string op, TemplateValue left, TemplateValue right)
    {
        switch (op)
        {
            case "==":
                return AreEqual(run, left, right);
            case "!=":
                return !AreEqual(run, left, right);
            case "in":
                return Contains(run, right, left);
            case "not in":
                return !Contains(run, right, left);
        }

        if (!ValueComparer.HasOrder(left, right))
        {
            throw ValueComparer.NoOrder(op, left, right);
        }

        run.Step(Math.Min(left.WalkCost, right.WalkCost));
        int? order = ValueComparer.Compare(left, right);
        return order is { } sign && op switch
        {
            "<" => sign < 0,
            "<=" => sign <= 0,
            ">" => sign > 0,
            _ => sign >= 0,
        };
    }

    public static bool AreEqual(Run run, TemplateValue left, TemplateValue right)
    {
        run.Step(Math.Min(left.WalkCost, right.WalkCost));
        return ValueComparer.AreEqual(left, right);
    }

    public static bool Contains(Run run, TemplateValue container, TemplateValue item)
    {
        switch (container)
        {
            case StringValue text:
                if (item is not StringValue part)
                {
                    throw item is UndefinedValue undefined
                        ? undefined.Error()
                        : new TemplateException(TemplateErrorKind.Type, $"'in <string>' requires string as left operand, not {item.TypeName}");
                }

                PaySearch(run, text.Text.Length, part.Text.Length);
                return text.Text.Contains(part.Text, StringComparison.Ordinal);
            case DictValue dict:
                run.PayWalk(item);
                return dict.Get(item) is not null;
            case UndefinedValue or SequenceValue or RangeValue or DictViewValue or GeneratorValue:
                foreach (TemplateValue candidate in Lookup.Iterate(run, container))
                {
                    run.Step();
                    if (AreEqual(run, candidate, item))
                    {
                        return true;
                    }
                }

                return false;
            default:
                throw new TemplateException(TemplateErrorKind.Type, $"argument of type '{container.TypeName}' is not iterable");
        }
    }

    /// <summary>Pays to search a text: in the worst case every start is compared with the whole needle.</summary>
    public static void PaySearch(Run run, int textLength, int needleLength) =>
        run.Step(1 + (textLength >> 5) + ((long)textLength * needleLength >> 8));
}
