using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace Antiphon.Text;

/// <summary>One render: its variables, its output, and what it may still use.</summary>
internal sealed class Run
{
    private const int ClockEvery = 2048;

    private readonly TemplateLimits _limits;
    private readonly long _deadline;
    private long _stepsLeft;
    private long _stepsToClock = ClockEvery;
    private long _bytesLeft;
    private int _callDepth;

    public Run(TemplateLimits limits, IReadOnlyDictionary<string, TemplateValue> variables, DateTime? clock)
    {
        _limits = limits;
        _stepsLeft = limits.MaxSteps;
        _bytesLeft = limits.MaxAllocatedBytes;
        double ticks = limits.MaxTime.TotalSeconds * Stopwatch.Frequency;
        _deadline = ticks >= long.MaxValue / 2 ? long.MaxValue : Stopwatch.GetTimestamp() + (long)ticks;
        Variables = variables;
        Clock = clock;
        Output = new TextBuilder(this);
    }

    public IReadOnlyDictionary<string, TemplateValue> Variables { get; }

    public DateTime? Clock { get; }

    /// <summary>Where text goes: the prompt, or what a macro, block or filter captures.</summary>
    public TextBuilder Output { get; set; }

    /// <summary>Whether printed text is escaped for HTML (<c>autoescape</c> blocks).</summary>
    public bool AutoEscape { get; set; }

    /// <summary>What the innermost <see cref="CapturedExpression"/> stands for.</summary>
    public StringValue Captured { get; set; } = StringValue.Empty;

    public int MaxOutputLength => _limits.MaxOutputLength;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Step()
    {
        if (--_stepsToClock < 0)
        {
            LookAtClock();
        }
    }

    /// <summary>Pays for work that grows with the size of values.</summary>
    public void Step(long cost)
    {
        if (cost < 0 || (_stepsToClock -= cost) < 0)
        {
            LookAtClock();
        }
    }

    /// <summary>Pays for characters that are made.</summary>
    public void PayText(long length)
    {
        PayBytes(checked(length * 2) + 48);
        Step(length >> 6);
    }

    /// <summary>Pays for items that a list is made of.</summary>
    public void PayItems(long count)
    {
        PayBytes(checked(count * 16) + 64);
        Step(count);
    }

    /// <summary>Pays to walk a value and all that it holds.</summary>
    public void PayWalk(TemplateValue value)
    {
        long cost = value.WalkCost;
        if (cost > 1)
        {
            Step(cost);
        }
    }

    /// <summary>Enters a call that can lead to itself again; to be left with <see cref="LeaveCall"/>.</summary>
    public void EnterCall()
    {
        if (++_callDepth > _limits.MaxCallDepth || !RuntimeHelpers.TryEnsureSufficientExecutionStack())
        {
            throw Limit($"calls nest deeper than {_limits.MaxCallDepth} levels");
        }
    }

    public void LeaveCall() => _callDepth--;

    /// <summary>Starts to capture what is printed; the result is to be put back with <see cref="EndCapture"/>.</summary>
    public TextBuilder BeginCapture()
    {
        TextBuilder outer = Output;
        Output = new TextBuilder(this);
        return outer;
    }

    public StringValue EndCapture(TextBuilder outer)
    {
        StringValue text = Output.ToValue(AutoEscape);
        Output = outer;
        return text;
    }

    public static TemplateException Limit(string what) => new(TemplateErrorKind.Limit, what);

    private void PayBytes(long bytes)
    {
        if ((_bytesLeft -= bytes) < 0)
        {
            throw Limit($"the template makes values of more than {_limits.MaxAllocatedBytes} bytes");
        }
    }

    private void LookAtClock()
    {
        _stepsLeft -= ClockEvery - _stepsToClock;
        _stepsToClock = ClockEvery;
        if (_stepsLeft < 0)
        {
            throw Limit($"the template takes more than {_limits.MaxSteps} steps");
        }

        if (Stopwatch.GetTimestamp() > _deadline)
        {
            throw Limit($"the template takes longer than {_limits.MaxTime.TotalMilliseconds} ms");
        }
    }
}
