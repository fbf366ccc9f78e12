namespace Antiphon.Text;

/// <summary>A macro, or the body of a call block, together with the frame it was defined in.</summary>
internal sealed class MacroValue(MacroDefinition definition, Frame closure) : CallableValue
{
    public string Name => definition.Name;

    public int ParameterCount => definition.Parameters.Length;

    internal override string TypeName => "Macro";

    internal override TemplateValue Call(Run run, Arguments arguments)
    {
        Frame frame = definition.Scope.NewFrame(closure);
        Bind(frame, arguments);
        run.EnterCall();
        foreach (Parameter parameter in definition.Parameters)
        {
            if (frame.Slots[parameter.Slot] is null)
            {
                frame.Slots[parameter.Slot] = parameter.Default?.Evaluate(frame, run)
                    ?? new UndefinedValue($"parameter '{parameter.Name}' was not provided");
            }
        }

        TextBuilder outer = run.BeginCapture();
        Statement.ExecuteAll(definition.Body, frame, run);
        StringValue text = run.EndCapture(outer);
        run.LeaveCall();
        return text;
    }

    private void Bind(Frame frame, Arguments arguments)
    {
        Parameter[] parameters = definition.Parameters;
        TemplateValue[] positional = arguments.Positional;
        for (int i = 0; i < parameters.Length && i < positional.Length; i++)
        {
            frame.Slots[parameters[i].Slot] = positional[i];
        }

        if (positional.Length > parameters.Length && definition.VarargsSlot < 0)
        {
            throw Error($"macro '{Name}' takes not more than {parameters.Length} argument(s)");
        }

        if (definition.VarargsSlot >= 0)
        {
            frame.Slots[definition.VarargsSlot] = new TupleValue(positional.Length > parameters.Length ? positional[parameters.Length..] : []);
        }

        var rest = new DictValue();
        bool hasCaller = false;
        foreach ((string name, TemplateValue value) in arguments.Named)
        {
            int at = Array.FindIndex(parameters, p => p.Name == name);
            if (at >= 0 && frame.Slots[parameters[at].Slot] is null)
            {
                frame.Slots[parameters[at].Slot] = value;
            }
            else if (name == "caller" && definition.CallerSlot >= 0)
            {
                hasCaller = true;
                frame.Slots[definition.CallerSlot] = value;
            }
            else if (at < 0 && definition.KwargsSlot >= 0)
            {
                rest.Set(StringValue.Of(name), value);
            }
            else
            {
                throw Error($"macro '{Name}' takes no keyword argument '{name}'");
            }
        }

        if (definition.KwargsSlot >= 0)
        {
            frame.Slots[definition.KwargsSlot] = rest;
        }

        if (definition.CallerSlot >= 0 && !hasCaller)
        {
            frame.Slots[definition.CallerSlot] ??= new UndefinedValue("No caller defined");
        }
    }

    private static TemplateException Error(string message) => new(TemplateErrorKind.Type, message);
}
