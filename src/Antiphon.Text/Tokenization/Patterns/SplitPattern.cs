using System.Buffers;

namespace Antiphon.Text;

/// <summary>
/// A regular expression over code points, for cutting text into words. .NET's own works on UTF-16 units, where <c>\p{L}</c> does
/// not match a letter beyond the basic plane; this one does. It backtracks, with its own stack and with fuel: a pattern that needs more steps than a generous
/// multiple of the text's length is refused as it runs.
/// </summary>
internal sealed class SplitPattern
{
    private const int MaxInstructions = 20_000;
    private const long FuelPerCharacter = 200;
    private const long FuelAtLeast = 1_000_000;

    private readonly string source;
    private readonly List<Instruction> program = [];
    private readonly Alternative[] alternatives;
    private readonly CharacterSet? leadingRun;

    public SplitPattern(string pattern)
    {
        source = pattern;
        PatternNode root = PatternParser.Parse(pattern);
        IReadOnlyList<PatternNode> options = root is PatternNode.Alternatives all ? all.Options : [root];
        alternatives = new Alternative[options.Count];
        for (int i = 0; i < options.Count; i++)
        {
            (ulong low, ulong high) = options[i].CanBeEmpty ? (ulong.MaxValue, ulong.MaxValue) : options[i].First;
            alternatives[i] = new(program.Count, low, high);
            Emit(options[i]);
            Add(new(Code.Accept));
        }

        leadingRun = alternatives.Length == 1 && program[0] is { Code: Code.Run, B: int.MaxValue, Flag: false } run ? run.Set : null;
    }

    private enum Code
    {
        Set, Run, Split, Jump, Look, LookBehind, Atomic, Anchor, Accept,
    }

    /// <summary>The pattern that matches just a text.</summary>
    public static SplitPattern Literal(string text) =>
        new(string.Concat(text.Select(c => char.IsAscii(c) && !char.IsAsciiLetterOrDigit(c) && c >= ' ' ? $"\\{c}" : c.ToString())));

    /// <summary>How many steps the pattern may take on a text of a length, in one piece or in several.</summary>
    public static long Fuel(int length) => FuelAtLeast + (FuelPerCharacter * length);

    /// <summary>Appends each match, in order, as start and end; empty matches are passed over.</summary>
    /// <exception cref="TokenizerFormatException">The fuel does not last.</exception>
    public void Matches(ReadOnlySpan<char> text, List<(int Start, int End)> matches, ref long fuel)
    {
        using var machine = new Machine(this, text, fuel);
        int start = 0;
        while (start < text.Length)
        {
            int end = machine.MatchAt(start);
            if (end > start)
            {
                matches.Add((start, end));
                start = end;
            }
            else
            {
                // Where a pattern begins with a run and fails from all its places, it fails too from any start inside the run.
                bool inRun = leadingRun is not null && leadingRun.Contains(CodePoints.PointAt(text, start, out _));
                CodePoints.PointAt(text, start, out int length);
                start += length;
                while (inRun && start < text.Length && leadingRun!.Contains(CodePoints.PointAt(text, start, out length)))
                {
                    start += length;
                }
            }
        }

        fuel = machine.Fuel;
    }

    private void Add(Instruction instruction)
    {
        if (program.Count >= MaxInstructions)
        {
            throw new TokenizerFormatException($"pattern '{source[..Math.Min(source.Length, 80)]}' is too complex; the tokenizer is damaged");
        }

        program.Add(instruction);
    }

    private int Reserve()
    {
        Add(default);
        return program.Count - 1;
    }

    private void Emit(PatternNode node)
    {
        switch (node)
        {
            case PatternNode.Set set:
                Add(new(Code.Set) { Set = set.Members });
                break;
            case PatternNode.Sequence sequence:
                foreach (PatternNode part in sequence.Parts)
                {
                    Emit(part);
                }

                break;
            case PatternNode.Alternatives choice:
                EmitChoice(choice.Options);
                break;
            case PatternNode.Repeat { Part: PatternNode.Set set, Lazy: false } run:
                Add(new(Code.Run) { Set = set.Members, A = run.Minimum, B = run.Maximum, Flag = run.Possessive });
                break;
            case PatternNode.Repeat { Possessive: true } atomic:
                EmitNested(new(Code.Atomic), atomic with { Possessive = false });
                break;
            case PatternNode.Repeat repeat:
                EmitRepeat(repeat);
                break;
            case PatternNode.Look { Behind: true, Part: PatternNode.Set set } look:
                Add(new(Code.LookBehind) { Set = set.Members, Flag = look.Negative });
                break;
            case PatternNode.Look look:
                EmitNested(new(Code.Look) { Flag = look.Negative }, look.Part);
                break;
            case PatternNode.Anchor anchor:
                Add(new(Code.Anchor) { A = anchor.Kind });
                break;
        }
    }

    private void EmitNested(Instruction head, PatternNode part)
    {
        int at = Reserve();
        Emit(part);
        Add(new(Code.Accept));
        head.A = program.Count;
        program[at] = head;
    }

    private void EmitChoice(IReadOnlyList<PatternNode> options)
    {
        var jumps = new List<int>();
        for (int i = 0; i < options.Count; i++)
        {
            bool last = i == options.Count - 1;
            int split = last ? -1 : Reserve();
            Emit(options[i]);
            if (!last)
            {
                jumps.Add(Reserve());
                program[split] = new(Code.Split) { A = split + 1, B = program.Count };
            }
        }

        foreach (int jump in jumps)
        {
            program[jump] = new(Code.Jump) { A = program.Count };
        }
    }

    private void EmitRepeat(PatternNode.Repeat repeat)
    {
        for (int i = 0; i < repeat.Minimum; i++)
        {
            Emit(repeat.Part);
        }

        if (repeat.Maximum == int.MaxValue)
        {
            int split = Reserve();
            Emit(repeat.Part);
            Add(new(Code.Jump) { A = split });
            program[split] = Fork(split + 1, program.Count, repeat.Lazy);
            return;
        }

        var splits = new List<int>();
        for (int i = repeat.Minimum; i < repeat.Maximum; i++)
        {
            splits.Add(Reserve());
            Emit(repeat.Part);
        }

        foreach (int split in splits)
        {
            program[split] = Fork(split + 1, program.Count, repeat.Lazy);
        }
    }

    private static Instruction Fork(int more, int done, bool lazy) => new(Code.Split) { A = lazy ? done : more, B = lazy ? more : done };

    private record struct Instruction(Code Code)
    {
        public CharacterSet Set { get; init; } = null!;

        public int A { get; set; }

        public int B { get; init; }

        public bool Flag { get; init; }
    }

    // One of the outermost alternatives, with the ASCII characters that it may begin with: most are ruled out by a glance.
    private readonly record struct Alternative(int Start, ulong Low, ulong High);

    // Where to go on when a path fails: an instruction and a position; for a run also the least position it may shrink to.
    private readonly record struct Retry(int Instruction, int Position, int Least);

    private ref struct Machine
    {
        private readonly SplitPattern pattern;
        private readonly ReadOnlySpan<Instruction> program;
        private readonly ReadOnlySpan<char> text;
        private Retry[] stack = ArrayPool<Retry>.Shared.Rent(64);
        private int depth;
        private long fuel;

        public Machine(SplitPattern pattern, ReadOnlySpan<char> text, long fuel)
        {
            this.pattern = pattern;
            this.text = text;
            program = System.Runtime.InteropServices.CollectionsMarshal.AsSpan(pattern.program);
            this.fuel = fuel;
        }

        public readonly long Fuel => fuel;

        public readonly void Dispose() => ArrayPool<Retry>.Shared.Return(stack);

        public int MatchAt(int position)
        {
            char first = text[position];
            foreach (ref readonly Alternative alternative in pattern.alternatives.AsSpan())
            {
                if (first < 0x80 && ((first < 64 ? alternative.Low : alternative.High) >> (first & 63) & 1) == 0)
                {
                    continue;
                }

                int end = Execute(alternative.Start, position);
                if (end >= 0)
                {
                    return end;
                }
            }

            return -1;
        }

        // The end of the first match from an instruction and a position, or -1. Recursion is as deep as look-arounds nest.
        private int Execute(int at, int position)
        {
            int bottom = depth;
            while (true)
            {
                if (--fuel < 0)
                {
                    throw new TokenizerFormatException(
                        $"pattern '{pattern.source}' takes too many steps on this text; split the text or use a model with another tokenizer");
                }

                ref readonly Instruction instruction = ref program[at];
                bool ok = true;
                switch (instruction.Code)
                {
                    case Code.Set:
                        ok = position < text.Length && instruction.Set.Contains(CodePoints.PointAt(text, position, out int length));
                        if (ok)
                        {
                            position += text[position] >= 0xD800 ? Length(position) : 1;
                            at++;
                        }

                        break;
                    case Code.Run:
                        ok = Run(in instruction, at, ref position);
                        at++;
                        break;
                    case Code.Split:
                        Push(new(instruction.B, position, -1));
                        at = instruction.A;
                        break;
                    case Code.Jump:
                        at = instruction.A;
                        break;
                    case Code.Look:
                        ok = Execute(at + 1, position) >= 0 != instruction.Flag;
                        at = instruction.A;
                        break;
                    case Code.LookBehind:
                        ok = (position > 0 && instruction.Set.Contains(CodePoints.PointAt(text, CodePoints.Before(text, position), out _))) != instruction.Flag;
                        at++;
                        break;
                    case Code.Atomic:
                        int end = Execute(at + 1, position);
                        ok = end >= 0;
                        position = end;
                        at = instruction.A;
                        break;
                    case Code.Anchor:
                        ok = Holds((char)instruction.A, position);
                        at++;
                        break;
                    default:
                        depth = bottom;
                        return position;
                }

                if (!ok)
                {
                    if (depth == bottom)
                    {
                        return -1;
                    }

                    Retry retry = stack[--depth];
                    (at, position) = (retry.Instruction, retry.Position);
                    if (retry.Least >= 0)
                    {
                        // A run gives one character back and may give more.
                        position = CodePoints.Before(text, position);
                        if (position > retry.Least)
                        {
                            Push(new(at, position, retry.Least));
                        }
                    }
                }
            }
        }

        private readonly int Length(int position)
        {
            CodePoints.PointAt(text, position, out int length);
            return length;
        }

        private bool Run(in Instruction instruction, int at, ref int position)
        {
            int count = 0;
            int least = position;
            int end = position;
            while (count < instruction.B && end < text.Length && instruction.Set.Contains(CodePoints.PointAt(text, end, out int length)))
            {
                end += length;
                if (++count == instruction.A)
                {
                    least = end;
                }
            }

            fuel -= count;
            if (count < instruction.A)
            {
                return false;
            }

            if (end > least && !instruction.Flag)
            {
                Push(new(at + 1, end, least));
            }

            position = end;
            return true;
        }

        private readonly bool Holds(char anchor, int position)
        {
            bool before = position > 0 && CharacterSet.IsWord(CodePoints.PointAt(text, CodePoints.Before(text, position), out _));
            bool after = position < text.Length && CharacterSet.IsWord(CodePoints.PointAt(text, position, out _));
            return anchor switch
            {
                '^' => position == 0 || text[position - 1] == '\n',
                '$' => position == text.Length || text[position] == '\n',
                'A' => position == 0,
                'z' => position == text.Length,
                'b' => before != after,
                _ => before == after,
            };
        }

        private void Push(Retry retry)
        {
            if (depth == stack.Length)
            {
                Retry[] larger = ArrayPool<Retry>.Shared.Rent(depth * 2);
                stack.AsSpan(0, depth).CopyTo(larger);
                ArrayPool<Retry>.Shared.Return(stack);
                stack = larger;
            }

            stack[depth++] = retry;
        }
    }
}
