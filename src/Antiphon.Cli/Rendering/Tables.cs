using Spectre.Console;

namespace Antiphon.Cli;

/// <summary>Tables: framed on a terminal, plain columns where results are redirected.</summary>
internal static class Tables
{
    /// <summary>An empty table.</summary>
    /// <param name="terminal">Where it goes.</param>
    /// <param name="columns">Names, and whether a column holds numbers.</param>
    public static Table Create(Terminal terminal, params ReadOnlySpan<(string Name, bool Number)> columns)
    {
        var table = new Table { Border = terminal.OutputIsTerminal ? TableBorder.Rounded : TableBorder.None };
        foreach ((string name, bool number) in columns)
        {
            var column = new TableColumn(Markup.Escape(name));
            if (number)
            {
                column.RightAligned();
            }

            table.AddColumn(column);
        }

        return table;
    }

    /// <summary>Adds a row of plain text. Control characters, which a file's names may hold, do not reach the terminal.</summary>
    public static void AddPlain(this Table table, params string[] cells) => table.AddRow(
        [.. cells.Select(c => Markup.Escape(c.Any(char.IsControl) ? string.Concat(c.Select(x => char.IsControl(x) ? '\uFFFD' : x)) : c))]);
}
