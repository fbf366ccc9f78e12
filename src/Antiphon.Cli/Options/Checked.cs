using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;

namespace Antiphon.Cli;

/// <summary>Options and arguments that say in one line what they want.</summary>
internal static class Checked
{
    /// <summary>A whole number in a range.</summary>
    public static Option<int?> Whole(string name, string description, int least, int most, params string[] aliases) => new(name, aliases)
    {
        Description = description,
        HelpName = "N",
        CustomParser = result => int.TryParse(result.Tokens[0].Value, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int value) && value >= least && value <= most
            ? value
            : Wrong<int?>(result, name, most == int.MaxValue ? $"a whole number of at least {least}" : $"a whole number from {least} to {most}"),
    };

    /// <summary>A number in a range.</summary>
    public static Option<float?> Number(string name, string description, float least, float most, bool leastAllowed = true, params string[] aliases) => new(name, aliases)
    {
        Description = description,
        HelpName = "X",
        CustomParser = result =>
            float.TryParse(result.Tokens[0].Value, NumberStyles.Float, CultureInfo.InvariantCulture, out float value)
            && (leastAllowed ? value >= least : value > least) && value <= most && float.IsFinite(value)
                ? value
                : Wrong<float?>(result, name, string.Create(CultureInfo.InvariantCulture, $"a number {(leastAllowed ? "from" : "above")} {least}{(most == float.MaxValue ? "" : (leastAllowed ? " to " : ", at most ") + most.ToString(CultureInfo.InvariantCulture))}")),
    };

    /// <summary>One of some names.</summary>
    public static Option<T?> Choice<T>(string name, string description, params (string Name, T Value)[] choices)
        where T : struct => new(name)
    {
        Description = description,
        HelpName = string.Join('|', choices.Select(choice => choice.Name)),
        CustomParser = result =>
        {
            foreach ((string known, T value) in choices)
            {
                if (known == result.Tokens[0].Value)
                {
                    return value;
                }
            }

            return Wrong<T?>(result, name, $"{string.Join(", ", choices[..^1].Select(choice => choice.Name))} or {choices[^1].Name}");
        },
    };

    /// <summary>Whole numbers of at least 0 or 1, separated by commas.</summary>
    public static Option<int[]> List(string name, string description, int least, int[] defaults) => new(name)
    {
        Description = description,
        HelpName = "N,N,…",
        DefaultValueFactory = _ => defaults,
        CustomParser = result =>
        {
            string[] pieces = result.Tokens[0].Value.Split(',');
            var values = new int[pieces.Length];
            for (int i = 0; i < pieces.Length; i++)
            {
                if (!int.TryParse(pieces[i], NumberStyles.None, CultureInfo.InvariantCulture, out values[i]) || values[i] < least)
                {
                    return Wrong<int[]>(result, name, $"whole numbers of at least {least}, separated by commas");
                }
            }

            return values;
        },
    };

    /// <summary>Arguments in order, of which the first may be left out. Refuses what looks like an option, which the parser would take as text.</summary>
    public static Argument<string[]> Positionals(string name, string description, int least, int most)
    {
        var argument = new Argument<string[]>(name) { Description = description, Arity = new ArgumentArity(least, 1000) };
        argument.Validators.Add(result =>
        {
            foreach (Token token in result.Tokens)
            {
                if (token.Value.Length > 1 && token.Value[0] == '-' && !char.IsWhiteSpace(token.Value[1]) && !char.IsAsciiDigit(token.Value[1]))
                {
                    string nearest = Nearest(result, token.Value);
                    result.AddError($"unknown option '{token.Value}'{(nearest.Length > 0 ? $", did you mean '{nearest}'?" : "")} (text that starts with a dash goes behind --)");
                    return;
                }
            }

            if (result.Tokens.Count > most)
            {
                result.AddError($"'{result.Tokens[most].Value}' is one argument too many (wanted: {name}); put text of several words in quotes");
            }
        });
        return argument;
    }

    private static T? Wrong<T>(ArgumentResult result, string name, string wanted)
    {
        result.AddError($"{name} '{result.Tokens[0].Value}' must be {wanted}");
        return default;
    }

    private static string Nearest(ArgumentResult result, string token)
    {
        Command command = ((CommandResult)result.Parent!).Command;
        return command.Options.Where(o => !o.Hidden).Select(o => o.Name).Select(n => (Name: n, Distance: Distance(n, token)))
            .Where(c => c.Distance <= Math.Max(2, c.Name.Length / 3)).OrderBy(c => c.Distance).Select(c => c.Name).FirstOrDefault() ?? "";
    }

    private static int Distance(string a, string b)
    {
        int[] row = [.. Enumerable.Range(0, b.Length + 1)];
        for (int i = 1; i <= a.Length; i++)
        {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= b.Length; j++)
            {
                int above = row[j];
                row[j] = Math.Min(Math.Min(row[j] + 1, row[j - 1] + 1), diagonal + (a[i - 1] == b[j - 1] ? 0 : 1));
                diagonal = above;
            }
        }

        return row[b.Length];
    }
}
