namespace Antiphon.Text;

/// <summary>A parsed template.</summary>
internal sealed record Program(Statement[] Body, Scope Scope);

/// <summary>
/// Makes a program of tokens: by recursive descent, whose depth <see cref="TemplateLimits.MaxNesting"/> bounds, as it does the height of every expression.
/// This part reads statements, the other one expressions.
/// </summary>
internal sealed partial class Parser
{
    private readonly List<Token> _tokens;
    private readonly int _maxNesting;
    private readonly List<NameExpression> _names = [];
    private readonly HashSet<string> _blocks = [];

    /// <summary>Filters and tests that do not exist, outside any condition: known for certain only when the whole expression is read.</summary>
    private readonly List<(int Line, string Message)> _unknown = [];

    private Scope _scope = new(null);
    private int _at;
    private int _nesting;
    private int _loops;
    private int _inCondition;

    private Parser(List<Token> tokens, int maxNesting) => (_tokens, _maxNesting) = (tokens, maxNesting);

    private Token Current => _tokens[_at];

    private Token Following => _tokens[Math.Min(_at + 1, _tokens.Count - 1)];

    /// <exception cref="TemplateException">Of kind Syntax or Limit, with the line.</exception>
    public static Program Parse(List<Token> tokens, int maxNesting)
    {
        var parser = new Parser(tokens, maxNesting);
        Scope root = parser._scope;
        try
        {
            Statement[] body = parser.ParseBody(null);
            foreach (NameExpression name in parser._names)
            {
                name.Resolve();
            }

            return parser._unknown.Count == 0
                ? new(body, root)
                : throw new TemplateException(TemplateErrorKind.Syntax, parser._unknown[0].Message) { Line = parser._unknown[0].Line };
        }
        catch (TemplateException error)
        {
            error.Line = error.Line > 0 ? error.Line : parser.Current.Line;
            throw;
        }
    }

    /// <summary>Reads statements up to a tag with one of the names, and stands at that name; null reads to the end of the source.</summary>
    private Statement[] ParseBody(string? opening, params ReadOnlySpan<string> ends)
    {
        Enter();
        var body = new List<Statement>();
        while (true)
        {
            Token token = Current;
            switch (token.Kind)
            {
                case TokenKind.End:
                    if (opening is not null)
                    {
                        throw Error($"Unexpected end of template. Jinja was looking for the following tags: '{string.Join("' or '", ends!)}'. "
                            + $"The innermost block that needs to be closed is '{opening}'.");
                    }

                    _nesting--;
                    return [.. body];
                case TokenKind.Data:
                    _at++;
                    body.Add(new TextStatement(token.Text));
                    break;
                case TokenKind.PrintBegin:
                    _at++;
                    body.Add(new PrintStatement(ParseTuple()));
                    Expect(TokenKind.PrintEnd, "end of print statement");
                    break;
                default:
                    _at++;
                    if (Current.Kind != TokenKind.Name)
                    {
                        throw Error("tag name expected");
                    }

                    if (ends.Contains(Current.Text))
                    {
                        _nesting--;
                        return [.. body];
                    }

                    body.Add(ParseStatement());
                    Expect(TokenKind.BlockEnd, "end of statement block");
                    break;
            }
        }
    }

    /// <summary>Reads a body and the name of the tag that ends it; stands before the end of that tag.</summary>
    private Statement[] ParseClosedBody(string opening, string end)
    {
        Expect(TokenKind.BlockEnd, "end of statement block");
        Statement[] body = ParseBody(opening, end);
        _at++;
        return body;
    }

    private Statement[] ParseClosedBody(string opening, string end, Scope scope)
    {
        Scope outer = _scope;
        _scope = scope;
        Statement[] body = ParseClosedBody(opening, end);
        _scope = outer;
        return body;
    }

    private Statement ParseStatement()
    {
        string tag = Current.Text;
        _at++;
        switch (tag)
        {
            case "if":
                return ParseIf();
            case "for":
                return ParseFor();
            case "set":
                return ParseSet();
            case "macro":
                return ParseMacro();
            case "call":
                return ParseCallBlock();
            case "filter":
                Expression filters = ParseFilters(new CapturedExpression(), startsWithBar: false);
                var filterScope = new Scope(_scope);
                return new CaptureStatement(filterScope, ParseClosedBody(tag, "endfilter", filterScope), filters, null);
            case "with":
                return ParseWith();
            case "generation":
                var generationScope = new Scope(_scope);
                return new ScopeStatement(generationScope, [], ParseLoopless(tag, "endgeneration", generationScope));
            case "autoescape":
                Expression escapes = ParseExpression();
                var escapeScope = new Scope(_scope);
                return new ScopeStatement(escapeScope, [], ParseClosedBody(tag, "endautoescape", escapeScope), escapes);
            case "block":
                return ParseBlock();
            case "print":
                return new PrintStatement(ParseTuple());
            case "break" or "continue":
                return _loops > 0
                    ? new BreakStatement(tag == "break" ? Flow.Break : Flow.Continue)
                    : throw Error($"'{tag}' outside loop");
            case "include" or "import" or "from" or "extends":
                while (Current.Kind != TokenKind.BlockEnd)
                {
                    _at++;
                }

                return new LoadStatement(tag);
            default:
                _at--;
                throw Error($"Encountered unknown tag '{tag}'.");
        }
    }

    /// <summary>A body that a loop around it cannot be left from.</summary>
    private Statement[] ParseLoopless(string opening, string end, Scope scope)
    {
        int loops = _loops;
        _loops = 0;
        Statement[] body = ParseClosedBody(opening, end, scope);
        _loops = loops;
        return body;
    }

    private IfStatement ParseIf()
    {
        _inCondition++;
        var branches = new List<KeyValuePair<Expression, Statement[]>>();
        Statement[] otherwise = [];
        while (true)
        {
            Expression condition = ParseTuple(withCondition: false);
            Expect(TokenKind.BlockEnd, "end of statement block");
            branches.Add(new(condition, ParseBody("if", "elif", "else", "endif")));
            string tag = Current.Text;
            _at++;
            if (tag == "elif")
            {
                continue;
            }

            if (tag == "else")
            {
                otherwise = ParseClosedBody("if", "endif");
            }

            break;
        }

        _inCondition--;
        return new(branches.ToArray(), otherwise);
    }

    private ForStatement ParseFor()
    {
        int start = _at;
        Target target = ParseTarget(allowsNamespace: false);
        if (!SkipName("in"))
        {
            throw Expected("in");
        }

        Expression source = ParseTuple(withCondition: false, end: "recursive");
        Scope outer = _scope;
        var scope = new Scope(outer);
        target.Bind(scope);
        if (scope.Find("loop") >= 0)
        {
            throw Error("Can't assign to special loop variable in for-loop target");
        }

        Expression? filter = null;
        Target? filterTarget = null;
        Scope? filterScope = null;
        if (SkipName("if"))
        {
            // The condition has the loop's target in a scope of its own: read the target a second time.
            filterScope = new Scope(outer);
            (int resume, _at) = (_at, start);
            filterTarget = ParseTarget(allowsNamespace: false);
            filterTarget.Bind(filterScope);
            _at = resume;
            _scope = filterScope;
            filter = ParseExpression();
            _scope = outer;
        }

        bool recursive = SkipName("recursive");
        Expect(TokenKind.BlockEnd, "end of statement block");
        _scope = scope;
        int loopSlot = scope.Declare("loop");
        _loops++;
        Statement[] body = ParseBody("for", "endfor", "else");
        _loops--;
        Statement[] otherwise = [];
        var otherwiseScope = new Scope(outer);
        bool hasElse = Current.Text == "else";
        _at++;
        if (hasElse)
        {
            otherwise = ParseClosedBody("for", "endfor", otherwiseScope);
        }

        _scope = outer;
        return new()
        {
            Source = source,
            Target = target,
            Scope = scope,
            LoopSlot = loopSlot,
            Body = body,
            Filter = filter,
            FilterTarget = filterTarget,
            FilterScope = filterScope,
            Otherwise = otherwise,
            OtherwiseScope = otherwiseScope,
            IsRecursive = recursive,
        };
    }

    private Statement ParseSet()
    {
        Target target = ParseTarget(allowsNamespace: true);
        if (SkipOperator("="))
        {
            Expression value = ParseTuple();
            target.Bind(_scope);
            return new SetStatement(target, value);
        }

        Expression result = ParseFilters(new CapturedExpression(), startsWithBar: true);
        var scope = new Scope(_scope);
        Statement[] body = ParseClosedBody("set", "endset", scope);
        target.Bind(_scope);
        return new CaptureStatement(scope, body, result, target);
    }

    private MacroStatement ParseMacro()
    {
        string name = ExpectName();
        if (name is "true" or "false" or "none" or "True" or "False" or "None")
        {
            throw Error($"can't assign to '{name}'");
        }

        MacroDefinition definition = ParseMacroRest(name, "macro", "endmacro", hasSignature: true);
        return new(definition, _scope.Declare(name));
    }

    private CallBlockStatement ParseCallBlock()
    {
        bool hasSignature = IsOperator("(");
        int signature = _at;
        if (hasSignature)
        {
            SkipBrackets();
        }

        if (ParseUnary() is not CallExpression call)
        {
            throw Error("expected call");
        }

        int body = _at;
        _at = signature;
        MacroDefinition definition = ParseMacroRest("caller", "call", "endcall", hasSignature, body);
        return new(call, definition);
    }

    /// <summary>Past a bracket and all up to the one that closes it; the lexer has seen to it that there is one.</summary>
    private void SkipBrackets()
    {
        int depth = 0;
        do
        {
            depth += Current is not { Kind: TokenKind.Operator } ? 0 : Current.Text is "(" or "[" or "{" ? 1 : Current.Text is ")" or "]" or "}" ? -1 : 0;
            _at++;
        }
        while (depth > 0);
    }

    private MacroDefinition ParseMacroRest(string name, string opening, string end, bool hasSignature, int bodyAt = -1)
    {
        Scope outer = _scope;
        var scope = new Scope(outer, isMacro: true);
        _scope = scope;
        var parameters = new List<Parameter>();
        if (hasSignature)
        {
            ExpectOperator("(");
            while (!SkipOperator(")"))
            {
                if (parameters.Count > 0)
                {
                    ExpectOperator(",");
                }

                string parameter = ExpectName();
                if (parameters.Any(p => p.Name == parameter))
                {
                    throw Error($"duplicate argument '{parameter}' in function definition");
                }

                int slot = scope.Declare(parameter);
                Expression? standard = SkipOperator("=") ? ParseExpression() : null;
                if (standard is null && parameters.Count > 0 && parameters[^1].Default is not null)
                {
                    throw Error("non-default argument follows default argument");
                }

                if (parameters.Count >= 64)
                {
                    throw Error("a macro has more than 64 parameters");
                }

                parameters.Add(new(parameter, slot, standard));
            }
        }

        if (bodyAt >= 0)
        {
            _at = bodyAt;
        }

        _scope = outer;
        Statement[] body = ParseLoopless(opening, end, scope);
        int Special(string special) => parameters.Any(p => p.Name == special) ? -1 : scope.Find(special);
        return new()
        {
            Name = name,
            Parameters = [.. parameters],
            Scope = scope,
            Body = body,
            VarargsSlot = Special("varargs"),
            KwargsSlot = Special("kwargs"),
            CallerSlot = Special("caller"),
        };
    }

    private ScopeStatement ParseWith()
    {
        var scope = new Scope(_scope);
        var assignments = new List<KeyValuePair<Target, Expression>>();
        while (Current.Kind != TokenKind.BlockEnd)
        {
            if (assignments.Count > 0)
            {
                ExpectOperator(",");
            }

            Target target = ParseTarget(allowsNamespace: false, single: true);
            ExpectOperator("=");
            assignments.Add(new(target, ParseExpression()));
            target.Bind(scope);
        }

        return new(scope, [.. assignments], ParseClosedBody("with", "endwith", scope));
    }

    private ScopeStatement ParseBlock()
    {
        string name = ExpectName();
        if (!_blocks.Add(name))
        {
            throw Error($"block '{name}' defined twice");
        }

        SkipName("scoped");
        SkipName("required");
        var scope = new Scope(_scope);
        Statement[] body = ParseLoopless("block", "endblock", scope);
        if (Current is { Kind: TokenKind.Name } && Current.Text == name)
        {
            _at++;
        }

        return new(scope, [], body);
    }

    private Target ParseTarget(bool allowsNamespace, bool single = false)
    {
        var items = new List<Target>();
        bool isTuple = false;
        do
        {
            if (isTuple && !(Current.Kind == TokenKind.Name && Current.Text != "in") && !IsOperator("("))
            {
                break;
            }

            items.Add(ParseTargetItem(allowsNamespace));
            if (single)
            {
                break;
            }
        }
        while (SkipOperator(",") && (isTuple = true));

        return isTuple ? new() { Items = [.. items] } : items[0];
    }

    private Target ParseTargetItem(bool allowsNamespace)
    {
        if (IsOperator("("))
        {
            _at++;
            Enter();
            Target inner = ParseTarget(allowsNamespace: false);
            _nesting--;
            ExpectOperator(")");
            return inner;
        }

        if (Current.Kind is TokenKind.Integer or TokenKind.Float or TokenKind.String
            || (Current.Kind == TokenKind.Name && Current.Text is "true" or "false" or "none" or "True" or "False" or "None"))
        {
            throw Error("can't assign to 'const'");
        }

        string name = ExpectName();
        if (allowsNamespace && SkipOperator("."))
        {
            return new() { Namespace = NewName(name), Attribute = ExpectName() };
        }

        return new() { Name = name };
    }

    private NameExpression NewName(string name)
    {
        if (name is "varargs" or "kwargs" or "caller")
        {
            // Naming one of these is what makes a macro take it.
            Scope? macro = _scope;
            while (macro is not null && !macro.IsMacro)
            {
                macro = macro.Parent;
            }

            macro?.Declare(name);
        }

        var expression = new NameExpression(name, _scope) { Line = Current.Line };
        _names.Add(expression);
        return expression;
    }

    private bool IsName(string name) => Current.Kind == TokenKind.Name && Current.Text == name;

    private bool IsOperator(string op) => Current.Kind == TokenKind.Operator && Current.Text == op;

    private bool SkipName(string name)
    {
        bool found = IsName(name);
        _at += found ? 1 : 0;
        return found;
    }

    private bool SkipOperator(string op)
    {
        bool found = IsOperator(op);
        _at += found ? 1 : 0;
        return found;
    }

    private void Expect(TokenKind kind, string name)
    {
        if (Current.Kind != kind)
        {
            throw Expected(name);
        }

        _at++;
    }

    private void ExpectOperator(string op)
    {
        if (!SkipOperator(op))
        {
            throw Expected(op);
        }
    }

    private string ExpectName()
    {
        string name = Current.Text;
        Expect(TokenKind.Name, "name");
        return name;
    }

    private void Enter()
    {
        if (++_nesting > _maxNesting || !System.Runtime.CompilerServices.RuntimeHelpers.TryEnsureSufficientExecutionStack())
        {
            throw TooDeep();
        }
    }

    private TemplateException TooDeep() => Run.Limit($"the template nests deeper than {_maxNesting} levels");

    private TemplateException Expected(string what) => Error($"expected token '{what}', got '{Current}'");

    private static TemplateException Error(string message) => new(TemplateErrorKind.Syntax, message);
}
